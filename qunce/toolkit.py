"""What a unit's engineer installs: the client and the commands for files, as one wheel, made from this installation.

PEP 427 (a zip with metadata) and PEP 376 (RECORD) say what is in it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

CONTENT = ("__init__.py", "options.py", "client", "push")
"""Of the package `qunce`."""
_DATE = (2026, 1, 1, 0, 0, 0)

_METADATA = """Metadata-Version: 2.1
Name: qunce-client
Version: {version}
Summary: 群策 Qunce: client of the open interface, and the commands push and pull-template
License: Apache-2.0
Requires-Python: >=3.11
Requires-Dist: httpx>=0.27
Requires-Dist: typer>=0.16
Requires-Dist: rich>=13.7
Provides-Extra: readings
Requires-Dist: numpy>=1.26; extra == "readings"
Requires-Dist: pyarrow>=16; extra == "readings"
Requires-Dist: pydantic>=2.7; extra == "readings"
Requires-Dist: tzdata; extra == "readings"
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: qunce\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS = "[console_scripts]\nqunce = qunce.push.__main__:main\n"


def wheel() -> tuple[str, bytes]:
    """(file name, content); the same installation makes the same bytes."""
    release = version("qunce")
    root, info = files("qunce"), f"qunce_client-{release}.dist-info"
    found = {f"qunce/{path}": data for name in CONTENT for path, data in _read(root / name, name)}
    found[f"{info}/METADATA"] = _METADATA.format(version=release).encode()
    found[f"{info}/WHEEL"] = _WHEEL.encode()
    found[f"{info}/entry_points.txt"] = _ENTRY_POINTS.encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in found.items())
    found[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in found.items():
            archive.writestr(zipfile.ZipInfo(path, _DATE), data, zipfile.ZIP_DEFLATED)
    return f"qunce_client-{release}-py3-none-any.whl", target.getvalue()


def _read(place: Traversable, path: str) -> list[tuple[str, bytes]]:
    if place.is_file():
        return [(path, place.read_bytes())] if path.endswith(".py") else []
    within = sorted(place.iterdir(), key=lambda one: one.name)
    return [found for one in within for found in _read(one, f"{path}/{one.name}")]


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
