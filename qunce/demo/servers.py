"""The back ends of a data directory, running or not: commands that look into a stopped demo start its servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from qunce.demo.ground import Ground
from qunce.demo.parts import nats_part, postgres_part
from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres
from qunce.settings import Settings
from qunce.supervisor import InUse, Part, Supervisor


@contextmanager
def awake(settings: Settings) -> Iterator[None]:
    """While inside, the embedded servers of the settings' data directory run.

    Does nothing when a demo is running there, or when there never was one (servers of one's own).
    Raises ChildFailed when a server does not start.
    """
    ground = Ground(settings.data_dir)
    ports = ground.recall().get("ports")
    with ExitStack() as stack:
        if ports is not None:
            try:
                supervisor = stack.enter_context(Supervisor(ground.run, ground.logs))
            except InUse:
                supervisor = None
            if supervisor is not None:
                parts = _embedded(settings, ground, ports)
                for part in parts:
                    supervisor.launch(part)
                supervisor.wait([part.name for part in parts])
        yield


def _embedded(settings: Settings, ground: Ground, ports: dict[str, int]) -> list[Part]:
    parts = []
    postgres = Postgres(ground.root / "postgres", ports["postgres"])
    dsn, url = settings.database.dsn, settings.log.url
    if postgres.cluster.exists() and dsn is not None and dsn.get_secret_value() == postgres.dsn:
        parts.append(postgres_part(postgres))
    nats = Nats(ground.root / "nats", ports["nats"], ports["mqtt"])
    if nats.root.exists() and url is not None and url.get_secret_value() == nats.url:
        parts.append(nats_part(nats))
    return parts
