"""What happens at every start of the pages: the first operator has his account."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import structlog

from qunce.settings import Settings
from store import passwords, people
from store.database import connect

_log = structlog.get_logger("qunce.beginning")
_AGAIN_S = 5.0


async def begin(settings: Settings, stop: asyncio.Event) -> None:
    """Give the operator of the settings his account, as soon as the database answers.

    It takes the owner's DSN; a process without it leaves that to others.
    """
    owner, password = settings.database.dsn, settings.dashboard.password
    if owner is None or password is None:
        return
    name, secret = settings.dashboard.user, password.get_secret_value()
    while not stop.is_set():
        try:
            await asyncio.to_thread(_ensure, owner.get_secret_value(), name, secret)
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _AGAIN_S)
        except (people.WrongScope, passwords.Weak, psycopg.Error) as error:
            _log.error("the operator of dashboard.user has no account", name=name, error=str(error))
            return
        else:
            return


def _ensure(dsn: str, name: str, password: str) -> None:
    with connect(dsn, application="begin") as conn:
        people.ensure_operator(conn, name, password)
