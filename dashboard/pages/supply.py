"""数据供给: what every unit delivers, how late, how complete, and what was refused and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dash import Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from dashboard import ids
from dashboard import markup as h
from dashboard.blocks import age, empty, headline, panel
from dashboard.format import NOTHING, Reading, count, moment, percent, reading
from dashboard.indicators import UNIT_RATES, short_name, shown
from dashboard.markup import SLOT, Html
from dashboard.pages import SUPERVISING, Page, View
from dashboard.snapshot import Picture, Snapshot, pick
from dashboard.texts import Language, either, language_of, text, text_or
from store.reasons import REASONS
from store.supply import Refusal, Supply
from supervision.problems import Problem

LISTED = 40
ROW_STALE_S = 90
BEAT_STALE_S = 180
SKEWED_S = 5.0
"""A clock further off than this is pointed out, as the interface does to the sender."""


def layout(view: View) -> Component:
    """The whole page; `?unit=<code>` narrows the refused rows to one unit."""
    lang, unit = view.language, view.query.get("unit", "")
    return html.Div(
        [
            dcc.Store(id=ids.SUPPLY_UNIT, data=unit),
            h.slot(ids.SUPPLY_TOTALS, totals(view), className="headlines is-6"),
            panel(
                text(lang, "supply.sources"),
                h.slot(ids.SUPPLY_TABLE, table(view, unit), className="table-wrap"),
                name="area-sources",
            ),
            panel(
                text(lang, "supply.reasons"),
                h.slot(ids.SUPPLY_REASONS, reasons(view, unit), className="fill scroll"),
                name="area-reasons",
            ),
            panel(
                text(lang, "supply.refusals"),
                h.slot(ids.SUPPLY_REFUSALS, refusals(view, unit), className="fill scroll"),
                aside=dcc.Link(text(lang, "supply.all_units"), href="/supply", className="chip")
                if unit
                else None,
                name="area-refusals",
            ),
        ],
        className="page-supply",
    )


def totals(view: View) -> Html:
    """The account of all sources: received = stored + duplicates + corrections + quarantined."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None:
        return empty(text(lang, "empty.starting"))
    sums = {
        "received": sum(s.received for s in picture.supplies),
        "stored": sum(s.stored for s in picture.supplies),
        "duplicates": sum(s.duplicates for s in picture.supplies),
        "corrections": sum(s.corrections for s in picture.supplies),
        "quarantined": sum(s.quarantined for s in picture.supplies),
    }
    last = max((s.last_received_at for s in picture.supplies if s.last_received_at), default=None)
    sources = headline(
        text(lang, "supply.total.sources"), Reading(count(len(picture.supplies)), text(lang, "unit.sources")),
        text(lang, "period.now"), picture.read_at, 15,
    )  # fmt: skip
    return h.joined(
        [sources]
        + [
            headline(
                text(lang, f"supply.total.{key}"),
                reading(lang, value, "rows"),
                text(lang, "period.ever"),
                last,
                ROW_STALE_S,
            )
            for key, value in sums.items()
        ]
    )


def table(view: View, unit: str) -> Html:
    """One row a source."""
    lang, picture = view.language, view.snapshot.picture
    if picture is None or not picture.supplies:
        return empty(text(lang, "empty.sources"))
    columns = [
        (text(lang, "column.unit"), ""),
        (text(lang, "column.source"), ""),
        (text(lang, "column.status"), ""),
        (text(lang, "column.last"), "num"),
        (text(lang, "column.beat"), "num"),
        (short_name(lang, "dq.latency_p95"), "num"),
        *((short_name(lang, code), "num") for code in UNIT_RATES),
        (text(lang, "supply.total.received"), "num"),
        (text(lang, "supply.total.stored"), "num"),
        (text(lang, "supply.total.duplicates"), "num"),
        (text(lang, "supply.total.quarantined"), "num"),
    ]
    return h.Table(
        [
            h.Thead(h.Tr([h.Th(name, scope="col", className=kind) for name, kind in columns])),
            h.Tbody(
                [
                    _row(lang, picture, s, unit)
                    for s in sorted(picture.supplies, key=lambda s: _rank(picture, s))
                ]
            ),
        ],
        className="table",
    )


def _problems(picture: Picture, source: Supply) -> list[Problem]:
    return [
        p
        for p in picture.problems
        if p.unit_code == source.unit_code and p.evidence.get("source") == source.key
    ]


def _rank(picture: Picture, source: Supply) -> tuple[int, str, str]:
    # What needs attention stands first.
    severities = [p.severity for p in _problems(picture, source)]
    order = 0 if "bad" in severities else 1 if severities else 2 if source.last_received_at is None else 3
    return order, source.unit_code, source.key


def _row(lang: Language, picture: Picture, source: Supply, unit: str) -> Html:
    pilot = next((p for p in picture.pilots if p.unit_id == source.unit_id), None)
    found = _problems(picture, source)
    idle = source.last_received_at is None or not source.sends_live or source.stopped
    state = found[0].severity if found else "stale" if idle else "good"
    status = (
        text(lang, f"problem.{found[0].kind}.title")
        if found
        else text(
            lang,
            "supply.stopped"
            if source.stopped
            else "supply.no_live"
            if state == "stale"
            else f"severity.{state}",
        )
    )
    p95 = pick(picture.by_source, source.source_id, "dq.latency_p95", ("now", "hour", "day"))
    delay = shown(lang, "dq.latency_p95", p95.value if p95 else None)
    protocol = source.key.partition(":")[0]
    rates = []
    for code in UNIT_RATES:
        figure = pick(picture.by_source, source.source_id, code, ("day", "hour", "now"))
        if figure is None and pilot is not None:
            figure = pick(picture.by_pilot, pilot.pilot_id, code, ("day", "hour", "now"))
        rates.append(percent(figure.value if figure else None))
    return h.Tr(
        [
            h.Th(
                h.Link(either(lang, source.unit_zh, source.unit_en), href=f"/supply?unit={source.unit_code}"),
                scope="row",
                title=source.unit_code,
            ),
            h.Td(
                [h.Span(text_or(lang, f"protocol.{protocol}", protocol), className="tag"),
                 h.Span(source.key.partition(":")[2], className="source-name")]
            ),
            h.Td(h.Span(status, className=f"pill is-{state}")),
            h.Td(
                age(source.last_received_at, 0 if idle else max(ROW_STALE_S, 3 * (source.interval_s or 0)))
                if source.last_received_at
                else text(lang, "supply.never"),
                className="num",
            ),
            h.Td(_beat(lang, source), className="num"),
            h.Td([delay.digits, h.Small(delay.unit)], className="num"),
            *(h.Td(rate, className="num") for rate in rates),
            h.Td(count(source.received), className="num"),
            h.Td(count(source.stored), className="num"),
            h.Td(count(source.duplicates), className="num"),
            h.Td(count(source.quarantined), className="num" + (" is-bad-text" if source.quarantined else "")),
        ],
        key=str(source.source_id),
        className="is-chosen" if unit and source.unit_code == unit else "",
    )  # fmt: skip


def _beat(lang: Language, source: Supply) -> Html:
    """Age of the last heartbeat, and the clock's skew where it is too large."""
    if source.beat_at is None:
        return Html(NOTHING)
    skew = source.beat_skew_s or 0.0
    pieces = [age(source.beat_at, BEAT_STALE_S)]
    if abs(skew) > SKEWED_S:
        pieces.append(h.Small(text(lang, "supply.skew", s=f"{skew:+.0f}"), className="is-bad-text"))
    return h.joined(pieces)


def reasons(view: View, unit: str) -> Html:
    """How often each reason occurs among the newest refused rows."""
    lang, picture = view.language, view.snapshot.picture
    counts: dict[str, int] = {}
    for unit_code, reason, n in picture.refusal_counts if picture else ():
        if not unit or unit_code == unit:
            counts[reason] = counts.get(reason, 0) + n
    if not counts:
        return empty(text(lang, "empty.refusals"), "✓")
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return h.Ol(
        [
            h.Li(
                [
                    h.Span(text_or(lang, f"refusal.{reason}", reason), className="rank-name", title=reason),
                    h.Span([count(n), h.Small(text(lang, "unit.rows"))], className="rank-value"),
                    h.Span(h.Span(style={"width": f"{n / ranked[0][1]:.1%}"}), className="rank-bar is-bad"),
                ],
                className="rank-row is-plain",
            )
            for reason, n in ranked
        ],
        className="ranking",
    )


def shown_refusals(picture: Picture | None, unit: str) -> Sequence[Refusal]:
    """The newest refused rows of a unit, or of all."""
    rows = picture.refusals if picture else ()
    return [r for r in rows if not unit or r.unit_code == unit][:LISTED]


def refusals(view: View, unit: str) -> Html:
    """Refused rows with reason, place, hint and the bytes as they came."""
    lang, rows = view.language, shown_refusals(view.snapshot.picture, unit)
    if not rows:
        return empty(text(lang, "empty.refusals"), "✓")
    return h.Ul([_refusal(lang, r, view.zone) for r in rows], className="refusals")


def _refusal(lang: Language, row: Refusal, zone: str) -> Html:
    reason = REASONS.get(row.reason)
    parameters = {key: str(value) for key, value in row.parameters.items()}
    message = reason.message(parameters)[lang] if reason else row.reason
    hint = reason.hint(parameters)[lang] if reason else ""
    return h.Li(
        h.Details(
            [
                h.Summary(
                    [
                        h.Span(moment(row.received_at, zone, "%H:%M:%S"), className="refusal-time"),
                        h.Span(either(lang, row.unit_zh, row.unit_en), className="refusal-unit"),
                        h.Span(message, className="refusal-why"),
                        h.Code(row.place, className="refusal-place"),
                    ]
                ),
                h.Div(
                    [
                        h.P(hint, className="refusal-hint"),
                        h.Dl(
                            [
                                h.Div([h.Dt(text(lang, key)), h.Dd(value)])
                                for key, value in (
                                    ("refusal.source", row.source or NOTHING),
                                    ("refusal.tag", row.tag or NOTHING),
                                    ("refusal.ts", moment(row.ts, zone, "%Y-%m-%d %H:%M:%S")),
                                    ("refusal.code", row.reason),
                                    ("refusal.size", f"{row.size:,}"),
                                )
                            ],
                            className="facts",
                        ),
                        h.Pre(original_text(row.original, row.size)),
                    ],
                    className="refusal-body",
                ),
            ]
        ),
        key=str(row.quarantine_id),
    )


def original_text(original: bytes, size: int) -> str:
    """Bytes for the eye: UTF-8 where they are, hexadecimal where not, control characters made visible."""
    shown = original.decode("utf-8", "backslashreplace")
    shown = "".join(c if c in "\n\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
    return shown if len(original) == size else f"{shown}\n… {size:,} B"


def register(app: Dash, current: Callable[[], Snapshot], want: Callable[[str], None]) -> None:
    """Callbacks: read the snapshot, draw, return."""

    @app.callback(
        Output(ids.SUPPLY_TOTALS, SLOT),
        Output(ids.SUPPLY_TABLE, SLOT),
        Output(ids.SUPPLY_REASONS, SLOT),
        Output(ids.SUPPLY_REFUSALS, SLOT),
        Input(ids.TICK, "data"),
        State(ids.SUPPLY_UNIT, "data"),
        State(ids.LANGUAGE, "data"),
        prevent_initial_call=True,
    )
    def renew(_tick: object, unit: str, language: str) -> tuple[object, ...]:
        view = View(current(), language_of(language), {})
        return view.snapshot.once(
            ("supply", unit, view.language),
            lambda: (totals(view), table(view, unit), reasons(view, unit), refusals(view, unit)),
        )


PAGE = Page("/supply", "nav.supply", layout, register, SUPERVISING | {"lead_unit"})
