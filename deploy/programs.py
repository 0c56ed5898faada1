"""Make sure that the tests have the programs that are not Python's: a browser, a broker, clients; standard library only.

Installs Debian's packages where that is possible (root, apt-get). Where it is not, says so and
lets the tests that need them be skipped, except when CI is set: there a test that cannot run is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Where Debian puts servers, which is not on everybody's PATH.
SERVERS = "/usr/sbin:/usr/local/sbin"


def chromium() -> str | None:
    """The path of a Chromium: `$QUNCE_CHROMIUM`, or one on PATH."""
    named = os.environ.get("QUNCE_CHROMIUM")
    if named and os.access(named, os.X_OK):
        return named
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


def mosquitto() -> str | None:
    """The path of the Mosquitto broker."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=SERVERS)


def has_chinese_font() -> bool:
    """Whether fontconfig knows a font for Chinese; pages without one show boxes."""
    if not shutil.which("fc-list"):
        return False
    answer = subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True, check=False)
    return bool(answer.stdout.strip())


def missing() -> list[str]:
    """The Debian packages whose programs are not here."""
    here = {
        "chromium": bool(chromium()),
        "fonts-noto-cjk": has_chinese_font(),
        "mosquitto": bool(mosquitto()),
        "mosquitto-clients": bool(shutil.which("mosquitto_pub")),
        "curl": bool(shutil.which("curl")),
        "nodejs": bool(shutil.which("node")),
        "npm": bool(shutil.which("npm")),
    }
    return [package for package, found in here.items() if not found]


def install(packages: list[str]) -> str | None:
    """Install `packages` through apt-get; returns why that could not be or failed, or None."""
    if not shutil.which("apt-get"):
        return "no apt-get on this system (a browser elsewhere can be named by QUNCE_CHROMIUM)"
    if os.geteuid() != 0:
        return "not root; run: sudo apt-get install " + " ".join(packages)
    print(f"安装测试所需的程序 / installing what the tests need: {' '.join(packages)} …", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # not as a service
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    for attempt in (["apt-get", "update", "-qq"], command):
        done = subprocess.run(attempt, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return "apt-get: " + (done.stderr.strip().splitlines() or ["failed"])[-1]
    return None


def main() -> int:
    """Returns 1 only in CI, when something is missing."""
    if not (packages := missing()):
        return 0
    why = install(packages)
    if not (left := missing()):
        return 0
    named = f"{', '.join(left)}: {why}"
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        print(f"有测试无法运行，缺少 / tests cannot run without {named}", file=sys.stderr)
        return 1
    print(f"跳过部分测试，缺少 / tests will be skipped that need {named}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
