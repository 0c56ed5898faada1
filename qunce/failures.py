"""Failures that a person can mend, in one sentence: a back end that is away, a file that cannot be used."""

from __future__ import annotations

from qunce.logging import redact


def explain(error: Exception) -> str | None:
    """What to tell the person at the keyboard, without secrets; None for a fault of our own.

    The rooms are imported only now: a failing command may take its time, `qunce --help` may not.
    """
    import psycopg

    from connectors.contract import ConfigError
    from ingest.log import LogUnavailable
    from qunce.process import ChildFailed
    from qunce.provision import PilotsError
    from qunce.supervisor import InUse

    text = redact(str(error).strip())
    if isinstance(error, psycopg.OperationalError):
        return f"数据库无法使用 / the database cannot be used (database.dsn): {text}"
    if isinstance(error, psycopg.errors.UndefinedTable):
        return f"数据库结构不是最新 / the schema is not up to date: run `qunce db migrate` ({text.splitlines()[0]})"
    if isinstance(error, psycopg.Error):
        return f"数据库拒绝 / the database refused: {text}"
    if isinstance(error, LogUnavailable):
        return f"日志无法使用 / the ingest log cannot be used (log.url): {text}"
    if isinstance(error, ConfigError):
        return f"连接器配置错误 / connectors: {text}"
    if isinstance(error, PilotsError):
        return f"试点清单错误 / pilots: {text}"
    if isinstance(error, ChildFailed | InUse | OSError):
        return text
    return None
