"""The back ends of a data directory, running or not: commands that look into a stopped demo start its servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from pydantic import SecretStr

from qunce.demo.ground import Ground
from qunce.demo.parts import nats_part, postgres_part
from qunce.embedded.nats import Nats
from qunce.embedded.postgres import Postgres
from qunce.process import free_port
from qunce.settings import Settings
from qunce.supervisor import InUse, Part, Supervisor


@contextmanager
def awake(settings: Settings) -> Iterator[Settings]:
    """While inside, the embedded servers of the settings' data directory run; yields where to find them.

    Does nothing when a demo is running there, or when there never was one (servers of one's own).
    Raises ChildFailed when a server does not start.
    """
    ground = Ground(settings.data_dir)
    ports = ground.recall().get("ports")
    with ExitStack() as stack:
        supervisor: Supervisor | None = None
        if ports is not None:
            # Held by a running demo: then its servers are awake.
            with suppress(InUse):
                supervisor = stack.enter_context(Supervisor(ground.run, ground.logs))
        if supervisor is not None and ports is not None:
            settings, parts = _embedded(settings, ground, ports)
            for part in parts:
                supervisor.launch(part)
            supervisor.wait([part.name for part in parts])
        yield settings


def _embedded(settings: Settings, ground: Ground, ports: dict[str, int]) -> tuple[Settings, list[Part]]:
    """The servers that the data directory's settings mean, on ports that are free now."""
    parts = []
    postgres = Postgres(ground.root / "postgres", ports["postgres"])
    if postgres.cluster.exists() and _is(settings.database.dsn, postgres.dsn):
        postgres = replace(postgres, port=free_port(postgres.port))
        postgres.prepare()
        parts.append(postgres_part(postgres))
        database = settings.database.model_copy(update={"dsn": SecretStr(postgres.dsn)})
        settings = settings.model_copy(update={"database": database})
    nats = Nats(ground.root / "nats", ports["nats"], ports["mqtt"])
    if nats.root.exists() and _is(settings.log.url, nats.url):
        nats = replace(nats, port=free_port(nats.port), mqtt_port=free_port(nats.mqtt_port))
        nats.prepare()
        parts.append(nats_part(nats))
        log = settings.log.model_copy(update={"url": SecretStr(nats.url)})
        settings = settings.model_copy(update={"log": log})
    return settings, parts


def _is(secret: SecretStr | None, value: str) -> bool:
    return secret is not None and secret.get_secret_value() == value
