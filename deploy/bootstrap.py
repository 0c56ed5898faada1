"""Make .venv/ from uv.lock, with nothing but Python's standard library (pip and venv may be missing).

uv of the pinned version is taken from `$QUNCE_UV`, from PATH, or fetched into .tools/: through pip
where there is one (so that mirrors and proxies of this machine are respected), else from the
package index directly. Its SHA-256 is pinned here. Then `uv sync --frozen`, with this Python.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV_VERSION = "0.13.9"
# machine → (file name of the wheel, its SHA-256)
WHEELS = {
    "x86_64": (
        f"uv-{UV_VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
    "aarch64": (
        f"uv-{UV_VERSION}-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl",
        "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
    ),
}
TIMEOUT_S = 120


class BootstrapError(Exception):
    """Something that the person at the keyboard has to mend; the message says what."""


def main() -> int:
    """Bring .venv/ up to date with uv.lock; returns the exit code."""
    try:
        check_python()
        uv = find_uv() or fetch_uv(ROOT / ".tools")
        sync(uv)
    except BootstrapError as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    return 0


def check_python() -> None:
    """Refuse a Python that is too old."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever runs this may well have an older one)
        raise BootstrapError(
            f"需要 Python 3.11 以上 / Python 3.11 or newer is needed, this is {platform.python_version()};"
            " make PYTHON=python3.11 …"
        )


def find_uv() -> Path | None:
    """uv of the pinned version that is already here."""
    candidates = [os.environ.get("QUNCE_UV"), str(ROOT / ".tools" / "uv"), shutil.which("uv")]
    return next((Path(path) for path in candidates if path and version_of(path) == UV_VERSION), None)


def version_of(uv: str) -> str | None:
    """What a uv says its version is; None when it is none."""
    try:
        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    words = answer.stdout.split()
    return words[1] if len(words) > 1 and words[0] == "uv" else None


def fetch_uv(tools: Path) -> Path:
    """Fetch the pinned wheel, verify it and unpack uv into `tools`."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in WHEELS:
        raise BootstrapError(
            f"no pinned uv for {sys.platform}/{machine}: install uv {UV_VERSION} and set QUNCE_UV to its path"
        )
    name, digest = WHEELS[machine]
    print(f"bootstrap: 获取 uv {UV_VERSION} / fetching uv {UV_VERSION} …", file=sys.stderr)
    tools.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tools) as folder:
        wheel = Path(folder) / name
        if not (by_pip(wheel) or by_index(wheel)):
            raise BootstrapError(
                f"uv {UV_VERSION} could not be fetched, neither through pip nor from {index_url()}."
                " 请检查网络或代理 / Check the network, or install it yourself and set QUNCE_UV to its path."
            )
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != digest:
            raise BootstrapError(f"{name}: SHA-256 is {found}, must be {digest}; nothing was installed")
        return unpack(wheel, tools)


def unpack(wheel: Path, tools: Path) -> Path:
    """Take the program out of the wheel, whole or not at all."""
    uv = tools / "uv"
    with zipfile.ZipFile(wheel) as archive:
        draft = tools / ".uv.new"
        draft.write_bytes(archive.read(f"uv-{UV_VERSION}.data/scripts/uv"))
    draft.chmod(0o755)
    draft.replace(uv)
    return uv


def by_pip(wheel: Path) -> bool:
    """Let pip fetch it: it knows this machine's mirrors, proxies and certificates."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(wheel.parent), f"uv=={UV_VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return False
    # pip may prefer another of uv's wheels for this machine; only the pinned one has a known digest.
    return wheel.exists()


def by_index(wheel: Path) -> bool:
    """Fetch it from the package index (PEP 503) that the environment names."""
    index = index_url()
    try:
        with urllib.request.urlopen(f"{index}/uv/", timeout=TIMEOUT_S) as answer:
            page = answer.read().decode("utf-8")
            link = find_link(page, wheel.name, answer.url)
        if link is None:
            return False
        with urllib.request.urlopen(link, timeout=TIMEOUT_S) as answer, wheel.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        print(f"bootstrap: {index}: {error}", file=sys.stderr)
        return False
    return True


def find_link(page: str, name: str, base: str) -> str | None:
    """The address of a file on a page of the index."""
    for href in re.findall(r"""href=["']([^"']+)["']""", page):
        address: str = urllib.parse.urljoin(base, href.replace("&amp;", "&"))
        path = urllib.parse.unquote(urllib.parse.urlsplit(address).path)
        if path.rsplit("/", 1)[-1] == name:
            return urllib.parse.urldefrag(address).url
    return None


def index_url() -> str:
    """The package index: as uv or pip would be told, else PyPI."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if value := os.environ.get(variable):
            return value.rstrip("/")
    return "https://pypi.org/simple"


def sync(uv: Path) -> None:
    """Make .venv/ exactly what uv.lock says, with this Python and no other."""
    environment = {
        **os.environ,
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PROJECT_ENVIRONMENT": str(ROOT / ".venv"),
    }
    # An environment that happens to be active is not ours.
    environment.pop("VIRTUAL_ENV", None)
    print("bootstrap: 安装依赖 / installing what uv.lock lists …", file=sys.stderr)
    done = subprocess.run([str(uv), "sync", "--frozen", "--quiet"], cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        raise BootstrapError("uv sync failed; its message is above")


if __name__ == "__main__":
    sys.exit(main())
