"""Does it balance? sent = stored + duplicates + corrections + quarantined + pending, to the row, per source.

Three accounts that were kept apart are held against each other: what the senders say they sent,
what the writer booked in the transactions that stored the rows, and what is really in the tables
and in the log now.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from psycopg import IsolationLevel
from rich import box
from rich.console import Console
from rich.table import Table

from ingest import accounting
from ingest.accounting import Account
from ingest.log import Log
from qunce.settings import Settings
from store import accounts
from store.database import connect

_COLUMNS = ("发送", "入库", "重复", "更正", "隔离", "在途", "重投", "他方")
_SHARED = ("http_push", "mqtt")
_LEGEND = (
    "发送 sent = 入库 stored + 重复 duplicates + 更正 corrections + 隔离 quarantined + 在途 pending;"
    " 重投 redelivered and 他方 others' are among sent"
)


@dataclass(frozen=True, slots=True)
class SourceBalance:
    """One source, in rows.

    acknowledged: what the sender counts as sent and acknowledged; where no sender's own count is at
    hand, what arrived. in_flight: handed over, but the sender had not seen the acknowledgement when
    it wrote its count. redelivered: arrived beyond what was acknowledged and explained, either as in
    flight or, sent again for want of an acknowledgement, as one of the duplicates or of what was refused.
    others: what arrived beyond that from other senders, who use the unit's key but keep no count
    (only HTTP push and MQTT admit several senders).
    sent = acknowledged + redelivered + others must be stored + duplicates + corrections + quarantined + pending.
    """

    unit: str
    source: str
    sent: int
    stored: int
    duplicates: int
    corrections: int
    quarantined: int
    pending: int
    acknowledged: int
    in_flight: int
    redelivered: int
    others: int

    @property
    def balanced(self) -> bool:
        """To the row."""
        return self.sent == self.stored + self.duplicates + self.corrections + self.quarantined + self.pending


@dataclass(frozen=True, slots=True)
class Verification:
    """All sources, and the disagreements between the books and the tables (none when all is well)."""

    sources: list[SourceBalance]
    disagreements: list[str] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """True when every source balances and the tables hold what the books say."""
        return not self.disagreements and all(source.balanced for source in self.sources)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        sources = [{**asdict(source), "balanced": source.balanced} for source in self.sources]
        return {"balanced": self.balanced, "sources": sources, "disagreements": self.disagreements}


def run(settings: Settings, *, as_json: bool) -> int:
    """`qunce verify`: balance the data directory's sources, print the result; 1 when it does not balance."""
    from qunce.demo.ground import Ground
    from qunce.demo.servers import awake
    from qunce.roles import needed

    with awake(settings) as found_at:
        dsn, log_url = needed(found_at, "database.dsn"), needed(found_at, "log.url")
        found = asyncio.run(verify(dsn, log_url, Ground(settings.data_dir).simulators / "ledger.json"))
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False, indent=1))  # noqa: T201 the command's output
    else:
        _show(found)
    return 0 if found.balanced else 1


def _show(found: Verification) -> None:
    table = Table(
        title="逐源对账(行)| balance of every source, in rows", caption=_LEGEND, box=box.SIMPLE, padding=0
    )
    table.add_column("  ")
    table.add_column("来源 source", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(f" {column}", justify="right", no_wrap=True)
    for source in found.sources:
        figures = (
            source.sent, source.stored, source.duplicates, source.corrections, source.quarantined, source.pending,
        )  # fmt: skip
        table.add_row(
            "[green]✓[/green]" if source.balanced else "[red]✗[/red]",
            source.source or f"{source.unit or '?'} 未登记 not registered",
            *(f"{n:,}" for n in (*figures, source.redelivered, source.others)),
        )
    # Wide enough for the figures where no terminal says how wide it is.
    console = Console() if sys.stdout.isatty() else Console(width=100)
    console.print(table)
    for text in found.disagreements:
        console.print(f"[red]账实不符 | books and tables differ:[/red] {text}")
    verdict = "[green]平衡 | balanced[/green]" if found.balanced else "[red]不平衡 | does not balance[/red]"
    console.print(verdict)


async def verify(dsn: str, log_url: str, ledger_file: Path | None = None) -> Verification:
    """Balance every source. `ledger_file`: the senders' own counts, as simulators write them.

    Raises psycopg.Error or LogUnavailable when a back end is away.
    """
    sent = _sent(ledger_file)
    log = await Log.connect(log_url, name="verify")
    try:
        # The list of the log before the snapshot of the store: see ingest.accounting.
        waiting, identity = await log.waiting(), log.identity
    finally:
        await log.close()
    with connect(dsn, application="verify") as conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        booked = accounting.booked_in(conn, identity)
        rows = accounts.count_rows(conn)
        held = accounts.count_held(conn)
    waits = accounting.pending(waiting, booked.positions, booked.floors)
    return balance(accounting.draw_up(booked, waits), rows, held, sent)


def balance(
    drawn_up: list[Account],
    rows: list[accounts.UnitRows],
    held: list[accounts.SourceHeld],
    sent: Mapping[str, Mapping[str, Any]],
) -> Verification:
    """Hold the accounts against each other; pure. `sent` by source, `drawn_up` as of `ingest.accounting`."""
    heard = {account.source for account in drawn_up}
    sources = [_balance_source(account, sent.get(account.source)) for account in drawn_up]
    sources += [
        _balance_source(Account("", source, 0, 0, 0, 0, 0, 0), own)
        for source, own in sent.items()
        if source not in heard and own["sent"]
    ]
    return Verification(sources, _disagreements(drawn_up, rows, held))


def _balance_source(account: Account, sent: Mapping[str, Any] | None) -> SourceBalance:
    stored, duplicates, corrections, quarantined, pending = (
        account.stored, account.duplicates, account.corrections, account.quarantined, account.pending or 0,
    )  # fmt: skip
    arrived = stored + duplicates + corrections + quarantined + pending
    # Where no sender keeps a count, what the way in counted when it appended has to do.
    acknowledged = account.received if sent is None else int(sent["sent"])
    in_flight = 0 if sent is None else int(sent.get("in_flight", 0))
    meant_twice = 0 if sent is None else int(sent.get("faults", {}).get("duplicate", 0))
    # What is sent again and comes twice is a duplicate, or, of what is refused, refused twice.
    refused_twice = 0 if sent is None else min(int(sent.get("resent", 0)), quarantined)
    explained = max(0, duplicates - meant_twice) + refused_twice + in_flight
    redelivered = max(0, min(arrived - acknowledged, explained))
    shared = account.source.partition(":")[0] in _SHARED
    others = max(0, arrived - acknowledged - redelivered) if shared else 0
    return SourceBalance(
        unit=account.unit,
        source=account.source,
        sent=acknowledged + redelivered + others,
        stored=stored,
        duplicates=duplicates,
        corrections=corrections,
        quarantined=quarantined,
        pending=pending,
        acknowledged=acknowledged,
        in_flight=in_flight,
        redelivered=redelivered,
        others=others,
    )


def _disagreements(
    booked: list[Account], rows: list[accounts.UnitRows], held: list[accounts.SourceHeld]
) -> list[str]:
    found = [
        f"{a.unit} {a.source}: {a.received} rows appended to the log, but not as many accounted for"
        for a in booked
        if not a.balanced
    ]
    stored: Counter[str] = Counter()
    for account in booked:
        stored[account.unit] += account.stored + account.corrections
    for unit in rows:
        counted = unit.measurements + unit.events + unit.revisions
        if counted != stored[unit.unit]:
            found.append(f"{unit.unit}: {stored[unit.unit]} rows booked as stored, {counted} in the tables")
    quarantined = {(a.unit, a.source): a.quarantined for a in booked}
    for source in held:
        expected = quarantined.get((source.unit, source.source), 0)
        if source.quarantined != expected:
            found.append(
                f"{source.source}: {expected} rows booked as quarantined, {source.quarantined} in the quarantine"
            )
    return found


def _sent(ledger_file: Path | None) -> dict[str, dict[str, Any]]:
    if ledger_file is None or not ledger_file.exists():
        return {}
    sources: dict[str, dict[str, Any]] = json.loads(ledger_file.read_text("utf-8"))["sources"]
    return sources
