"""Every block of docs/guide.md, in order, against a running platform."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign import cannot_run
from tests.guide.blocks import Step, blocks_of, differences, steps_of
from tests.guide.conftest import Platform
from tests.guide.telegraf import outputs_of, push

pytestmark = pytest.mark.concurrent
ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide.md"
PROGRAMS = ("bash", "curl", "mosquitto_pub")


@pytest.fixture
def programs() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        cannot_run(f"the guide needs {', '.join(missing)}; `make test` installs them where it can")


@pytest.mark.usefixtures("programs")
def test_the_guide_does_what_it_says(platform: Platform, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **platform.environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
    }
    steps = steps_of(blocks_of(GUIDE))
    faults = [fault for step in steps for fault in _faults(step, environment, tmp_path)]
    assert not faults, "\n\n".join(faults)


def _faults(step: Step, environment: dict[str, str], folder: Path) -> list[str]:
    """What a step does otherwise than the guide says."""
    place = f"{GUIDE.relative_to(ROOT)}:{step.do.line}"
    try:
        printed = _done(step, environment, folder)
    except (AssertionError, subprocess.TimeoutExpired) as failed:
        return [f"{place}: {failed}"]
    found = [] if step.printed is None else differences(step.printed, printed)
    return [f"{place} printed\n{printed}\nwhich is not what the guide says: {found}"] if found else []


def _done(step: Step, environment: dict[str, str], folder: Path) -> str:
    if step.do.kind == "toml":
        return "\n".join(push(output) for output in outputs_of(step.do.text, environment))
    command = ["bash", "-euo", "pipefail"] if step.do.kind == "bash" else [sys.executable, "-W", "error"]
    file = folder / f"step.{step.do.kind}"
    file.write_text(step.do.text, "utf-8")
    done = subprocess.run(
        [*command, file], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
