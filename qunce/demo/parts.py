"""The programs of a demo, in the order in which they are started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from qunce.demo.beats import Beats, now
from qunce.demo.ground import Ground
from qunce.embedded.nats import Nats
from qunce.embedded.nats import environment as nats_environment
from qunce.embedded.postgres import Postgres
from qunce.embedded.postgres import environment as postgres_environment
from qunce.settings import PREFIX, Settings
from qunce.supervisor import Part

# role process → the components that speak for it
ROLE_PROCESSES = {
    "writer": ("writer",),
    "api+dashboard": ("api", "dashboard"),
    "metrics": ("metrics",),
    "connectors": ("connectors",),
}
KEPT_VARIABLES = ("QUNCE_CHROMIUM", "QUNCE_UV")


@dataclass(frozen=True)
class SimulatorOptions:
    """How the simulated province is to behave; see `python -m simulators run --help`."""

    history: str
    faults: str
    speed: float


def postgres_part(postgres: Postgres) -> Part:
    """The embedded database."""
    return Part(
        "postgres",
        postgres.command,
        postgres.ready,
        stop_signal=postgres.stop_signal,
        grace_s=postgres.stop_grace_s,
        user=postgres.user,
        env=postgres_environment(),
    )


def nats_part(nats: Nats) -> Part:
    """The embedded log and broker."""
    return Part(
        "nats",
        nats.command,
        nats.ready,
        stop_signal=nats.stop_signal,
        grace_s=nats.stop_grace_s,
        env=nats_environment(),
        stuck=nats.stuck,
    )


def role_parts(settings: Settings, settings_file: Path, beats: Beats) -> list[Part]:
    """One process a role; pages and open interface share one."""
    # The file holds what is in force, environment included; ports may differ from what that says.
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PREFIX) or name in KEPT_VARIABLES
    }
    parts = []
    for name, components in ROLE_PROCESSES.items():
        started: list[datetime] = []

        def ready(components: tuple[str, ...] = components, started: list[datetime] = started) -> bool:
            return not beats.unwell(set(components), started[-1])

        def before(started: list[datetime] = started) -> None:
            started[:] = [now()]

        parts.append(
            Part(
                name,
                [
                    *(sys.executable, "-m", "qunce", "up", "--roles", name.replace("+", ",")),
                    *("--config", str(settings_file), "--data-dir", str(settings.data_dir)),
                ],
                ready,
                timeout_s=90,
                env=env,
                before=before,
                # The writer ends after those that feed it, so that little is left in the log.
                group=None if name == "writer" else "roles",
            )
        )
    return parts


def simulators_part(ground: Ground, base_port: int, options: SimulatorOptions) -> Part:
    """The simulated province; ready when it says how far it is."""
    progress = ground.simulators / "progress.json"

    def before() -> None:
        ground.simulators.mkdir(exist_ok=True, mode=0o700)
        progress.unlink(missing_ok=True)

    ready: Callable[[], bool] = progress.exists
    return Part(
        "simulators",
        [
            *(sys.executable, "-m", "simulators", "run", "--province", str(ground.province)),
            *("--credentials", str(ground.credentials), "--state-dir", str(ground.simulators)),
            *("--base-port", str(base_port), "--history", options.history),
            *("--faults", options.faults, "--speed", str(options.speed)),
        ],
        ready,
        timeout_s=60,
        grace_s=15,
        before=before,
    )
