"""The wheel that the platform gives out works by itself."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from qunce.toolkit import wheel


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """The wheel's content, where nothing else of ours is."""
    name, content = wheel()
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(tmp_path / "site")
    return tmp_path / "site"


def run(alone: Path, *arguments: str) -> str:
    """What Python prints that finds `qunce` in the wheel only."""
    program = f"import sys; sys.path.insert(0, {str(alone)!r}); " + arguments[0]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments[1:]], cwd=alone, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_client_and_the_commands_work_by_themselves(alone: Path) -> None:
    assert str(alone) in run(alone, "import qunce.client; print(qunce.client.__file__)")
    told = run(alone, "from qunce.push.__main__ import main; main()", "--help")
    assert "push" in told
    assert "pull-template" in told
    used = run(
        alone,
        "import qunce.push.files, qunce.push.backfill; print([m for m in sys.modules if m.startswith('qunce')])",
    )
    assert "qunce.settings" not in used


def test_it_names_all_that_it_imports(alone: Path) -> None:
    imported = set()
    for file in alone.glob("qunce/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    [metadata] = alone.glob("*.dist-info/METADATA")
    named = set(re.findall(r"Requires-Dist: (\w+)", metadata.read_text("utf-8")))
    assert imported - sys.stdlib_module_names - {"qunce"} == named - {"tzdata"}


def test_without_what_measurements_need_it_says_so(alone: Path, tmp_path: Path) -> None:
    for name in ("a.parquet", "m.toml"):
        (tmp_path / name).write_text("x")
    program = (
        f"import sys; sys.path.insert(0, {str(alone)!r}); sys.modules['pyarrow'] = None;"
        " from qunce.push.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "push", "a.parquet", "--mapping", "m.toml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "[readings]" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_it_is_a_wheel(alone: Path) -> None:
    [record] = alone.glob("*.dist-info/RECORD")
    lines = [line.split(",") for line in record.read_text("utf-8").splitlines()]
    assert {path for path, _, _ in lines} == {
        str(file.relative_to(alone)) for file in alone.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }  # fmt: skip
    for path, digest, size in lines[:-1]:
        data = (alone / path).read_bytes()
        assert digest == "sha256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        assert int(size) == len(data)
    assert wheel() == wheel()
