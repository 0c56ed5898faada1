"""One round: load, faults, recovery, silence, comparison."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from store.database import connect
from store.times import moment
from tests.chaos.faults import WINDOW_S, Faults, plan_round
from tests.chaos.ground import ROLES, Ground
from tests.chaos.judge import Verdict, ask_qunce, audit, compare, tag_numbers
from tests.chaos.plant import ACKNOWLEDGED, read_record
from tests.chaos.readings import HTTP_UNITS, MQTT_UNITS, Record, Sent, is_text, split_keys
from tests.chaos.senders import Clock, HttpSender, MqttSender, Sender

RECOVERY_S = 90.0
FLUSH_S = 90.0
STORED_WITHIN_S = 90.0
_MINUTE_US = 60_000_000
_DAY_US = 1440 * _MINUTE_US


@dataclass
class Run:
    """What a run of several rounds shares."""

    ground: Ground
    seed: int
    netem: bool
    load: float
    long_outages: bool
    handed_over: dict[str, int] = field(default_factory=dict)
    plant_read: int = 0
    past: list[tuple[Sent, list[tuple[int, int]]]] = field(default_factory=list)
    """What each round sent, and the windows of time it lies in."""


def play(run: Run, number: int, *, ask: bool) -> dict[str, Any]:
    """Play one round and return its report; `report["passed"]` says how it went."""
    ground = run.ground
    begun = time.monotonic()
    faults: Faults | None = None
    record = Record()
    try:
        _choose_network(ground, number)
        begin_us = time.time_ns() // 1000
        past = (begin_us // _DAY_US - 3) * _DAY_US + number * 10 * _MINUTE_US
        senders = _senders(run, number, record, begin_us, past)
        ground.pause_file.unlink(missing_ok=True)
        sending = time.monotonic()
        for sender in senders:
            sender.start()
        faults = Faults(ground, record, random.Random(f"{run.seed}/{number}"), run.netem)
        plan_round(faults, number, long_outages=run.long_outages)
        _ticking(ground, faults.over, 200)
        _ticking(ground, lambda: time.monotonic() - faults.begun > WINDOW_S, WINDOW_S)
        healed = time.monotonic()
        recovery = _Recovered(ground, record, healed)
        recovered = _ticking(ground, recovery, RECOVERY_S)
        recovery_s = round(time.monotonic() - healed, 2)
        _ticking(ground, lambda: False, 1.0)
        flushing = time.monotonic()
        flushed = _flush(ground, senders)
        flush_s = round(time.monotonic() - flushing, 2)
        sent_s = round(time.monotonic() - sending, 2)
        windows = [(begin_us, time.time_ns() // 1000 + 1), (past, past + 10 * _MINUTE_US)]

        def sent() -> Sent:
            _read_plant(run, record, begin_us)
            return record.all()

        run.handed_over["http_push"] = run.handed_over.get("http_push", 0) + record.rows_handed_over()
        verdict, books, stored_s = _judge(run, sent, windows)
        run.past.append((sent(), windows))
    finally:
        if faults is not None:
            faults.heal()
    wrong = [*record.surprises, *verdict.disagreements]
    if not recovered:
        wrong.append(f"not recovered within {RECOVERY_S:.0f} s: {_states(ground)}")
    if not flushed:
        wrong.append(f"senders still waited for acknowledgements after {FLUSH_S:.0f} s")
    if ask and not wrong:
        wrong += _asked(ground)
    return {
        "round": number,
        "seed": run.seed,
        "passed": verdict.clean and not wrong,
        **{key: value for key, value in verdict.as_dict().items() if key != "disagreements"},
        "duplicates": books.get("duplicates", 0),
        "unknown": record.unknown(),
        "faults": faults.events,
        "drains_s": faults.drains,
        "longest_outage_s": record.outages(),
        "recovery_s": recovery_s,
        "recovery_steps_s": recovery.steps,
        "flush_s": flush_s,
        "sent_s": sent_s,
        "stored_after_s": stored_s,
        "took_s": round(time.monotonic() - begun, 1),
        "wrong": wrong,
    }


def _choose_network(ground: Ground, number: int) -> None:
    """Every sixth round the roles reach their servers through the bad network; they restart to change."""
    far = number % 6 == 3
    if far == ground.far:
        return
    ground.far = far
    ground.write_settings()
    for role in ROLES:
        ground.supervisor.stop(role)
        ground.launch_role(role)
    ground.supervisor.wait(list(ROLES))


def _senders(run: Run, number: int, record: Record, begin_us: int, past: int) -> list[Sender]:
    ground = run.ground
    url = f"http://127.0.0.1:{ground.ports.api}"
    senders: list[Sender] = []
    for index, unit in enumerate((*HTTP_UNITS, HTTP_UNITS[0])):
        shared = senders[0].clock if index == len(HTTP_UNITS) else Clock(begin_us, past)
        seed = f"{run.seed}/{number}/{index}"
        senders.append(HttpSender(unit, record, shared, seed, 6 * run.load, url, ground.keys[unit]))
    port = ground.ports.far_mqtt if ground.far else ground.ports.mqtt
    for unit in MQTT_UNITS:
        seed = f"{run.seed}/{number}/{unit}"
        senders.append(
            MqttSender(unit, record, Clock(begin_us, past), seed, 8 * run.load, port, ground.keys[unit])
        )
    return senders


def _ticking(ground: Ground, until: Callable[[], bool], timeout_s: float) -> bool:
    """Look after the parts until something holds; False when it did not in time."""
    deadline = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > deadline:
            return False
        ground.tick()
        time.sleep(0.05)
    return True


class _Recovered:
    """Whether a reading acknowledged after the faults is stored, by every way of sending, and all parts are well."""

    def __init__(self, ground: Ground, record: Record, since: float) -> None:
        self._ground = ground
        self._record = record
        self._since = since
        self._probe: tuple[int, int] | None = None
        self._asked = 0.0
        self.steps: dict[str, float] = {}
        """When all parts were well, and when a reading was acknowledged, for the first time after the faults."""

    def _step(self, name: str) -> None:
        self.steps.setdefault(name, round(time.monotonic() - self._since, 2))

    def __call__(self) -> bool:
        if self._record.newest()[0] > self._since:
            self._step("acknowledged")
        if not self._ground.well() or time.monotonic() - self._asked < 0.25:
            return False
        self._step("well")
        self._asked = time.monotonic()
        if self._probe is None:
            at, keys = self._record.newest()
            tags, times = split_keys(keys)
            numeric = ~is_text(tags)
            if at > self._since and numeric.any():
                self._probe = int(tags[numeric][0]), int(times[numeric][0])
            return False
        with suppress(psycopg.Error), connect(self._ground.postgres.dsn, application="judge") as conn:
            numbers = tag_numbers(conn)
            found = conn.execute(
                "SELECT 1 FROM measurement WHERE tag_id = %s AND ts = %s",
                (int((numbers == self._probe[0]).argmax()), moment(self._probe[1])),
            ).fetchone()
            return found is not None
        return False


def _flush(ground: Ground, senders: list[Sender]) -> bool:
    """Send nothing new; wait until all that was handed over is acknowledged."""
    ground.pause_file.touch()
    for sender in senders:
        sender.no_more()
    done = _ticking(ground, lambda: not any(sender.alive for sender in senders), FLUSH_S)
    for sender in senders:
        sender.finish()
    _ticking(ground, lambda: False, 1.0)  # the plant's last answers are acknowledged meanwhile
    return done


def _read_plant(run: Run, record: Record, begin_us: int) -> None:
    """What the plant noted since the last round, of readings of this one: a new session gets the last one again."""
    entries = read_record(run.ground.plant_record)
    new, run.plant_read = entries[run.plant_read :], len(entries)
    new = new[new["ts"] >= begin_us]
    record.add(new["tag"], new["ts"], new["kind"] == ACKNOWLEDGED)


def _judge(
    run: Run, sent: Callable[[], Sent], windows: list[tuple[int, int]]
) -> tuple[Verdict, dict[str, int], float]:
    """Compare until everything acknowledged is there and the books stand still, or time is up.

    What was sent and never acknowledged may be on its way for a while.
    """
    ground = run.ground
    begun = time.monotonic()
    stored_s: float | None = None
    verdict: Verdict | None = None
    books: dict[str, int] = {}
    while True:
        with suppress(psycopg.Error):
            verdict = compare(ground, sent, windows)
            if not verdict.lost:
                stored_s = stored_s or round(time.monotonic() - begun, 2)
                before, books = books, audit(ground, verdict, run.handed_over)
                if books == before:
                    return verdict, books, stored_s
        if time.monotonic() - begun > STORED_WITHIN_S:
            break
        _ticking(ground, lambda: False, 0.7)
    if verdict is None:
        raise RuntimeError("the database did not answer the judge")
    return verdict, books or audit(ground, verdict, run.handed_over), STORED_WITHIN_S


def look_back(run: Run) -> dict[str, Any]:
    """All rounds compared once more, at the end: nothing may have been lost or altered since."""
    verdicts = [compare(run.ground, lambda sent=sent: sent, windows) for sent, windows in run.past]
    return {
        "round": "all",
        "passed": all(verdict.clean for verdict in verdicts),
        "acknowledged": sum(verdict.acknowledged for verdict in verdicts),
        "stored": sum(verdict.stored for verdict in verdicts),
        "lost": sum(verdict.lost for verdict in verdicts),
        "doubled": sum(verdict.doubled for verdict in verdicts),
        "wrong_values": sum(verdict.wrong_values for verdict in verdicts),
        "unsent": sum(verdict.unsent for verdict in verdicts),
    }


def _asked(ground: Ground) -> list[str]:
    """What the platform's own commands say; a part may need a moment to say that it is well again."""
    deadline = time.monotonic() + 20
    while (wrong := ask_qunce(ground)) and time.monotonic() < deadline:
        _ticking(ground, lambda: False, 1.0)
    return wrong


def _states(ground: Ground) -> str:
    words = [f"{child.part.name} {child.state}" for child in ground.supervisor.children]
    return ", ".join(words)
