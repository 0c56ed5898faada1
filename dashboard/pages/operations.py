"""运行: whether every row is accounted for, what waits, and whether each way in works to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component as DashComponent

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import age, empty, headline, panel, problem_list
from dashboard.format import NOTHING, Reading, count, duration, percent, reading, size
from dashboard.health import BEAT_AFTER_S
from dashboard.markup import SLOT, Html
from dashboard.paces import OVER_S
from dashboard.pages import Page, View
from dashboard.snapshot import Picture, Snapshot
from dashboard.texts import Language, either, language_of, text, text_or
from store.canary import Arrived
from store.identity import GRANTED
from store.operations import Skew
from store.status import Component, Told, told_pending
from supervision.operations import canary_facts, log_fact
from supervision.problems import CANARY_SILENT_S, CanaryFact, Thresholds

KINDS = frozenset(
    {"component_down", "canary_silent", "canaries_silent", "log_filling", "disk_filling", "clock_ahead"}
)
"""Problems that the operators of the platform see to."""
LOG_ALARM = Thresholds().log_on

_SKEW_WARN_S = Thresholds().clock_ahead_s


@dataclass(frozen=True, slots=True)
class Row:
    """One account, in rows; `unit` is its code, `name` as people call it. `pending` None: no writer said it."""

    unit: str
    name: str
    source: str
    received: int
    stored: int
    duplicates: int
    corrections: int
    quarantined: int
    pending: int | None
    last_received_at: datetime | None
    skew: Skew | None

    @property
    def balanced(self) -> bool:
        """To the row."""
        outcomes = self.stored + self.duplicates + self.corrections + self.quarantined
        return self.received == outcomes + (self.pending or 0)


def layout(view: View) -> DashComponent:
    """The whole page."""
    lang = view.language
    return html.Div(
        [
            h.slot(ids.OPERATIONS_TOTALS, totals(view), className="headlines is-7"),
            panel(
                text(lang, "operations.accounts"),
                h.slot(ids.OPERATIONS_ACCOUNTS, accounts(view), className="table-wrap"),
                aside=html.Span(text(lang, "operations.equation"), className="equation"),
                name="area-accounts",
            ),
            panel(
                text(lang, "operations.alarms"),
                h.slot(ids.OPERATIONS_ALARMS, alarms(view), className="fill scroll"),
                name="area-alarms",
            ),
            panel(
                text(lang, "operations.canaries"),
                h.slot(ids.OPERATIONS_CANARIES, canaries(view), className="table-wrap"),
                name="area-canaries",
            ),
            panel(
                text(lang, "operations.parts"),
                h.slot(ids.OPERATIONS_PARTS, parts(view), className="table-wrap"),
                name="area-parts",
            ),
        ],
        className="page-operations",
    )


def rows_of(lang: Language, picture: Picture) -> list[Row]:
    """Every account: what does not balance first, then where most waits."""
    told = _told(picture)
    waits = dict(told.by_source) if told is not None else {}
    skews = {(s.unit, s.source): s for s in picture.skews}
    registered = {p.unit_code for p in picture.pilots} | {s.unit_code for s in picture.supplies}
    rows = []
    for s in picture.supplies:
        pending = waits.pop((s.unit_code, s.key), 0)
        rows.append(
            Row(
                s.unit_code, either(lang, s.unit_zh, s.unit_en), s.key, s.received + pending, s.stored, s.duplicates,
                s.corrections, s.quarantined, None if told is None else pending, s.last_received_at,
                skews.get((s.unit_code, s.key)),
            )
        )  # fmt: skip
    held = {u.unit: u.rows for u in picture.unassigned}
    nobody: dict[str, int] = dict.fromkeys(held, 0)
    for (unit, source), n in waits.items():
        if unit in registered and n:  # a source of which everything still waits
            rows.append(Row(unit, _name(lang, picture, unit), source, n, 0, 0, 0, 0, n, None, None))
        elif n:
            nobody[unit] = nobody.get(unit, 0) + n
    for unit, n in nobody.items():
        quarantined = held.get(unit, 0)
        rows.append(
            Row(
                unit, text(lang, "operations.nobody", unit=unit or "?"), "", n + quarantined, 0, 0, 0, quarantined,
                None if told is None else n, None, None,
            )
        )  # fmt: skip
    return sorted(rows, key=lambda r: (r.balanced, -(r.pending or 0), r.unit, r.source))


def totals(view: View) -> Html:
    """The state of everything in seven figures."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None:
        return empty(text(lang, "empty.starting"))
    rows, told = rows_of(lang, picture), _told(picture)
    wrong = sum(not row.balanced for row in rows)
    last = max((s.last_received_at for s in picture.supplies if s.last_received_at), default=None)
    now = text(lang, "period.now")
    balance = Reading("✗" if wrong else "✓", text(lang, "operations.balance", n=len(rows), wrong=wrong))
    beats = [w.beat_at for w in picture.components if w.component == "writer"]
    well = [word for word in picture.components if _state(word) == "good"]
    promised = canary_facts(picture.components, picture.canaries)
    lively = [f for f in promised if (picture.read_at - f.since).total_seconds() <= CANARY_SILENT_S]
    oldest = min((f.since for f in promised), default=None)
    pace = sum(picture.paces.values()) if picture.paces else None
    return h.joined(
        [
            headline(text(lang, "operations.balanced"), balance, now, picture.read_at, 15),
            headline(text(lang, "supply.total.received"), reading(lang, sum(r.received for r in rows), "rows"),
                     text(lang, "period.ever"), last, 90),
            headline(text(lang, "operations.pending"), reading(lang, None if told is None else told.rows, "rows"),
                     now, told.at if told else None, 15),
            headline(text(lang, "operations.pace"), reading(lang, pace, "rows_s"),
                     text(lang, "period.minute", n=f"{OVER_S:.0f}"), max(beats, default=None), 15),
            _log_figure(lang, picture),
            headline(text(lang, "operations.canaries.lively"),
                     Reading(f"{len(lively)}/{len(promised)}", text(lang, "unit.sources")), now, oldest,
                     CANARY_SILENT_S),
            headline(text(lang, "operations.parts.well"),
                     Reading(f"{len(well)}/{len(picture.components)}", text(lang, "unit.sources")), now,
                     picture.read_at, 15),
        ]
    )  # fmt: skip


def _log_figure(lang: Language, picture: Picture) -> Html:
    fact = log_fact(picture.components, picture.read_at)
    label, words = text(lang, "operations.log"), [w for w in picture.components if "log" in w.detail]
    if fact is None or fact.limit_bytes <= 0:
        return headline(label, Reading(NOTHING, ""), text(lang, "figure.none"), None, 0)
    share = fact.n_bytes / fact.limit_bytes
    note = text(lang, "operations.log.of", used=size(fact.n_bytes), limit=size(fact.limit_bytes))
    bad = " is-bad" if share >= LOG_ALARM else ""
    return h.Div(
        [
            h.Div(label, className="fig-label"),
            h.Div(
                [h.Span(f"{share * 100:.1f}", className="fig-number"), h.Span("%", className="fig-unit")],
                className="fig-value",
            ),
            h.Div(
                [
                    h.Span(style={"width": f"{min(share, 1):.1%}"}, className="meter-fill"),
                    h.Span(style={"left": f"{LOG_ALARM:.0%}"}, className="meter-mark", title=percent(LOG_ALARM, 0)),
                ],
                className=f"meter{bad}",
                role="meter",
                **{"aria-valuenow": f"{share * 100:.1f}", "aria-valuemin": "0", "aria-valuemax": "100",
                   "aria-label": label},
            ),
            h.Div(
                [h.Span(note, className="fig-period"), age(max(w.beat_at for w in words), 15)], className="fig-foot"
            ),
        ],
        className="figure",
        title=text(lang, "operations.log.mark", mark=percent(LOG_ALARM, 0)),
    )  # fmt: skip


def accounts(view: View) -> Html:
    """One line an account."""
    lang, picture = view.language, view.snapshot.picture
    rows = rows_of(lang, picture) if picture is not None else []
    if not rows:
        return empty(text(lang, "empty.sources"))
    numbers = ("received", "stored", "duplicates", "corrections", "quarantined")
    head = [
        (text(lang, "operations.balanced.short"), ""),
        (text(lang, "column.unit"), ""),
        (text(lang, "column.source"), ""),
        *((text(lang, f"supply.total.{key}"), "num") for key in numbers),
        (text(lang, "operations.pending"), "num"),
        (text(lang, "operations.skew"), "num"),
        (text(lang, "column.last"), "num"),
    ]
    return _table(head, [_account(lang, row) for row in rows])


def _account(lang: Language, row: Row) -> Html:
    mark = "good" if row.balanced else "bad"
    protocol, _, name = row.source.partition(":")
    source = [
        h.Span(text_or(lang, f"protocol.{protocol}", protocol), className="tag"),
        h.Span(name, className="source-name"),
    ]
    skew = row.skew
    return h.Tr(
        [
            h.Td(h.Span("✓" if row.balanced else "✗", className=f"pill is-{mark}", title=text(lang, f"operations.{mark}"))),
            h.Th(row.name, scope="row", title=row.unit),
            h.Td(source if row.source else NOTHING),
            h.Td(count(row.received), className="num"),
            h.Td(count(row.stored), className="num"),
            h.Td(count(row.duplicates), className="num"),
            h.Td(count(row.corrections), className="num"),
            h.Td(count(row.quarantined), className="num" + (" is-bad-text" if row.quarantined else "")),
            h.Td(NOTHING if row.pending is None else count(row.pending), className="num"),
            h.Td(
                NOTHING if skew is None else f"{skew.ahead_s:+.1f}",
                className="num" + (" is-bad-text" if skew is not None and skew.ahead_s > _SKEW_WARN_S else ""),
                title="" if skew is None else text(
                    lang, "operations.skew.note", worst=f"{skew.worst_s:+.1f}", age=duration(lang, skew.age_s)
                ),
            ),
            h.Td(age(row.last_received_at, 0) if row.last_received_at else text(lang, "supply.never"), className="num"),
        ],
        key=f"{row.unit}/{row.source}",
    )  # fmt: skip


def alarms(view: View) -> Html:
    """What the operators have to see to."""
    picture = view.snapshot.picture
    found = [p for p in picture.problems if p.kind in KINDS] if picture else []
    if not found:
        return empty(text(view.language, "operations.no_alarm"), "✓")
    names = (
        {s.unit_code: either(view.language, s.unit_zh, s.unit_en) for s in picture.supplies}
        if picture
        else {}
    )
    return problem_list(view.language, found, names, {})


def canaries(view: View) -> Html:
    """The newest canary of each connector that runs: how old, how long it took; the longest silent first."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None or not canary_facts(picture.components, picture.canaries):
        return empty(text(lang, "operations.no_canary"))
    head = [
        (text(lang, "operations.connector"), ""),
        (text(lang, "column.status"), ""),
        (text(lang, "operations.canary.stored"), "num"),
        (text(lang, "operations.canary.took"), "num"),
        (text(lang, "operations.canary.times"), "num"),
    ]
    stored = {canary.connector: canary for canary in picture.canaries}
    facts = canary_facts(picture.components, picture.canaries)
    body = [
        _canary(lang, fact, stored.get(fact.connector), picture.read_at)
        for fact in sorted(facts, key=lambda f: (f.since, f.connector))
    ]
    return _table(head, body)


def _canary(lang: Language, fact: CanaryFact, canary: Arrived | None, now: datetime) -> Html:
    state = "bad" if (now - fact.since).total_seconds() > CANARY_SILENT_S else "good"
    took = None if canary is None else (canary.stored_at - canary.sent_at).total_seconds()
    return h.Tr(
        [
            h.Th(text_or(lang, f"component.{fact.connector}", fact.connector), scope="row"),
            h.Td(h.Span(text(lang, f"operations.canary.{state}"), className=f"pill is-{state}")),
            h.Td(
                text(lang, "supply.never") if canary is None else age(canary.stored_at, CANARY_SILENT_S),
                className="num",
            ),
            h.Td(NOTHING if took is None else duration(lang, round(took, 2)), className="num"),
            h.Td(count(0 if canary is None else canary.times), className="num"),
        ],
        key=fact.connector,
    )


def parts(view: View) -> Html:
    """Every part of the platform: state, age of its last word, memory, and how fast a writer works.

    What is not well comes first; of the rest the platform's own parts, which are few, then the connectors.
    """
    lang, picture = view.language, view.snapshot.picture
    if picture is None or not picture.components:
        return empty(text(lang, "operations.no_part"))
    head = [
        (text(lang, "operations.part"), ""),
        (text(lang, "operations.instance"), ""),
        (text(lang, "column.status"), ""),
        (text(lang, "operations.word"), "num"),
        (text(lang, "operations.memory"), "num"),
        (text(lang, "operations.pace"), "num"),
    ]
    body = []
    for word in sorted(picture.components, key=_rank):
        state = _state(word)
        rss = word.detail.get("rss_bytes")
        pace = picture.paces.get(word.instance) if word.component == "writer" else None
        body.append(
            h.Tr(
                [
                    h.Th(text_or(lang, f"component.{word.component}", word.component), scope="row"),
                    h.Td(word.instance, className="source-name"),
                    h.Td(h.Span(text_or(lang, f"status.{word.status}", word.status), className=f"pill is-{state}",
                                title=_why(word))),
                    h.Td(age(word.beat_at, 0 if word.status == "stopped" else BEAT_AFTER_S), className="num"),
                    h.Td(size(rss) if isinstance(rss, int) else NOTHING, className="num"),
                    h.Td(NOTHING if pace is None else [count(pace), h.Small(text(lang, "unit.rows_s"))], className="num"),
                ],
                key=f"{word.component}/{word.instance}",
            )
        )  # fmt: skip
    return _table(head, body)


_ORDER = ("bad", "warn", "good", "stale")


def _rank(word: Component) -> tuple[int, bool, str, str]:
    connector = "type" in word.detail  # only connectors say what type they are
    return _ORDER.index(_state(word)), connector, word.component, word.instance


def _state(word: Component) -> str:
    if word.status == "stopped":
        return "stale"
    if word.status == "permanent" or word.age_s > BEAT_AFTER_S:
        return "bad"
    return "good" if word.status == "ok" else "warn"


def _why(word: Component) -> str:
    return str(word.detail.get("error") or word.detail.get("detail") or word.detail.get("reason") or "")


def _told(picture: Picture) -> Told | None:
    return told_pending(picture.components, BEAT_AFTER_S)


def _name(lang: Language, picture: Picture, unit: str) -> str:
    found = next((s for s in picture.supplies if s.unit_code == unit), None)
    return unit if found is None else either(lang, found.unit_zh, found.unit_en)


def _table(head: Iterable[tuple[str, str]], body: list[Html]) -> Html:
    return h.Table(
        [h.Thead(h.Tr([h.Th(name, scope="col", className=kind) for name, kind in head])), h.Tbody(body)],
        className="table",
    )


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """Callbacks: read the snapshot, draw, return."""

    @app.callback(
        Output(ids.OPERATIONS_TOTALS, SLOT),
        Output(ids.OPERATIONS_ACCOUNTS, SLOT),
        Output(ids.OPERATIONS_ALARMS, SLOT),
        Output(ids.OPERATIONS_CANARIES, SLOT),
        Output(ids.OPERATIONS_PARTS, SLOT),
        Input(ids.TICK, "data"),
        State(ids.LANGUAGE, "data"),
        prevent_initial_call=True,
    )
    def renew(_tick: object, language: str) -> tuple[object, ...]:
        view = View(current(), language_of(language), {})
        return view.snapshot.once(
            ("operations", view.language),
            lambda: (totals(view), accounts(view), alarms(view), canaries(view), parts(view)),
        )


ROLES = frozenset(role for role, granted in GRANTED.items() if "operations:read" in granted)
PAGE = Page("/operations", "nav.operations", layout, register, ROLES)
