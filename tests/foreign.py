"""What is not Python's and a test needs: without it the test fails in CI and is skipped elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


def cannot_run(reason: str) -> NoReturn:
    """End this test: in CI a test that cannot run is a failure."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


def node_with_packages(folder: Path) -> str:
    """The path of node, with the packages of `folder`'s lock file in place."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        cannot_run("no node and npm; `make test` installs them where it can")
    if not (folder / "node_modules" / ".package-lock.json").exists():
        command = [npm, "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            cannot_run(f"npm ci: {done.stderr.strip()[-500:]}")
    return node
