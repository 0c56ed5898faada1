"""Every operation of the open interface asked once or more, with what the one before answered: real answers to judge by."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx
import pyarrow as pa

from ingest.api.reading import NO_CATALOGUE
from ingest.arrow import CONTENT_TYPE as ARROW
from ingest.datasets import DATASETS, example
from qunce.catalogue import read_catalogue
from qunce.codes import indicator_codes
from store.database import connect, only
from store.identity import NewPerson, add_person, open_session
from store.registry import NewPilot, NewUnit, add_key, register_pilot, register_unit
from tests.served import served

UNIT, KEY, USCC = "GD-ELE-01", "qk_story", "91440300MA5EXAMP0C"
FLOAT, NUMBER, STATE, ALARM = (
    f"CNC-0012.{signal}" for signal in ("spindle_speed", "produced", "state", "alarm")
)
PERSON = {"name": "city-dg", "display_name": "东莞市工信局", "role": "city", "region": "441900"}


class Told(NamedTuple):
    """An answer to the operation `method` `path`, a path of the document."""

    method: str
    path: str
    answer: httpx.Response


class Asking:
    """Asks as a unit by its key, or as somebody by a session; keeps what is answered."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self.told: list[Told] = []
        self.client = client
        self.session = session

    def __call__(
        self,
        method: str,
        path: str,
        status: int,
        *,
        by: str = KEY,
        fill: dict[str, Any] | None = None,
        **given: Any,
    ) -> Any:
        headers = {**({"Authorization": f"Bearer {by}"} if by else {}), **given.pop("headers", {})}
        answer = self.client.request(method, path.format(**(fill or {})), headers=headers, **given)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text[:500])
        self.told.append(Told(method, path, answer))
        return (
            answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer
        )


def register(dsn: str) -> str:
    """A unit with its pilot and key, and an operator: his session."""
    with connect(dsn, application="test") as conn:
        register_unit(conn, NewUnit(UNIT, "示例牵头单位", "Example lead unit", 1, USCC))
        register_pilot(conn, NewPilot("P-ELE-01", "电子信息试点", "Electronics", "new-it", "441900", UNIT, "piloting",
                                      datetime.now(UTC).date()))  # fmt: skip
        add_key(conn, UNIT, KEY)
        person = add_person(conn, NewPerson("operator", "平台运维", "operator"))
        return open_session(conn, person, 3600, "127.0.0.1")


def compute(dsn: str) -> None:
    """What the metrics engine would have computed: one value of the pilot, one without."""
    with connect(dsn, application="test") as conn:
        pilot = only(conn.execute("SELECT pilot_id FROM pilot"))[0]
        for code, value, why in (("equip.oee", 0.731, None), ("dq.timeliness", None, "no_data")):
            conn.execute(
                "INSERT INTO indicator_value (code, formula_version, level, entity_id, period, period_start, value,"
                " numerator, denominator, n_inputs, completeness, provenance, provisional, reason, computed_at)"
                " VALUES (%s, 1, 'cluster', %s, 'hour', date_trunc('hour', now()), %s, 7310, 10000, 12, 0.98,"
                " 'observed', false, %s, now())", (code, pilot, value, why))  # fmt: skip


@contextmanager
def running(dsn: str, nats_url: str) -> Iterator[str]:
    """The platform as `qunce up` builds it, without its pages: its address."""
    catalogue = read_catalogue()
    assert catalogue is not NO_CATALOGUE
    with served(dsn, nats_url, code_tables=[indicator_codes()], catalogue=catalogue) as url:
        yield url


def tell(url: str, dsn: str, session: str) -> list[Told]:
    """All of it, in a fresh database that `register` has been at."""
    with httpx.Client(base_url=url, timeout=30) as client:
        ask = Asking(client, session)
        _reports(ask)
        _readings(ask)
        compute(dsn)
        _files(ask)
        _refused(ask)
        _service(ask)
        _reads(ask)
        _people(ask)
        return ask.told


def _reports(ask: Asking) -> None:
    for name in DATASETS:
        ask("POST", f"/api/v1/datasets/{name}", 200, json={"records": [example(name)]})
    for tag, kind, unit in ((NUMBER, "counter", "1"), (STATE, "enum", "1"), (ALARM, "text", "1")):
        record = {"name": tag, "equipment_code": "CNC-0012", "signal": tag.split(".")[1], "data_type": kind,
                  "unit": unit, "interval_s": 10, "valid_from": "2026-01-01T00:00:00+08:00"}  # fmt: skip
        ask("POST", "/api/v1/datasets/tag", 200, json={"records": [record]})
    changed = {"records": [{**example("milestone"), "name": "行业平台正式上线"}], "reason": "名称有误"}
    waiting = ask(
        "POST", "/api/v1/datasets/milestone", 202, json=changed, headers={"Prefer": "respond-async"}
    )
    _until(ask, waiting["batch"])
    ask("POST", "/api/v1/datasets/park", 422, json={"records": [{"code": "P 1"}]})


def _until(ask: Asking, batch: str) -> None:
    """There is nothing at its address until it is judged."""
    path = "/api/v1/submissions/{batch}"
    for _ in range(200):
        if ask.client.get(path.format(batch=batch), headers={"Authorization": f"Bearer {KEY}"}).is_success:
            assert ask("GET", path, 200, fill={"batch": batch})["state"] == "applied"
            return
        time.sleep(0.05)
    raise AssertionError("not applied in time")


def now(ahead_s: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()


def _readings(ask: Asking) -> None:
    rows = [
        {"tag": NUMBER, "ts": now(-9), "value": 1200},
        {"tag": STATE, "ts": now(-9), "value": "Executing"},
        {"tag": ALARM, "ts": now(-9), "value": "刀具寿命不足"},
        {"tag": FLOAT, "ts": now(-9), "value": 8000.5, "quality": "uncertain"},
        {"tag": "CNC-0012.stat", "ts": now(-9), "value": 1},
    ]
    path = "/api/v1/measurements"
    key = {"Idempotency-Key": "2026-11-26-0001"}
    judged = ask("POST", path, 200, json={"records": rows}, headers=key)
    assert judged == ask("POST", path, 200, json={"records": rows}, headers=key)
    ask("POST", path, 422, json={"records": rows[-1:]})
    later = [{"tag": NUMBER, "ts": now(-8 + i / 100), "value": 1200 + i} for i in range(50)]
    waiting = ask("POST", path, 202, json={"records": later}, headers={"Prefer": "respond-async"})
    _until(ask, waiting["batch"])
    us = time.time_ns() // 1000
    ask("POST", path, 200, json={"tags": [NUMBER], "columns": {"tag": [0], "ts": [us], "value": [1300]}})
    metric = {
        "name": "opcua",
        "tags": {"equipment": "CNC-0012"},
        "fields": {"produced": 1301},
        "timestamp": now(-2),
    }
    ask("POST", path, 200, json={"metrics": [metric]})
    line = f'{{"tag":"{NUMBER}","ts":"{now(-3)}","value":1302}}\n'
    ask("POST", path, 200, content=line, headers={"Content-Type": "application/x-ndjson"})
    table = pa.table(
        {"tag": [NUMBER], "ts": pa.array([us + 1], pa.timestamp("us", "UTC")), "value": [1303.0]}
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    ask("POST", path, 200, content=sink.getvalue(), headers={"Content-Type": ARROW})
    for i, (status, prefer) in enumerate(((204, ""), (200, "return=representation"))):
        ask(
            "POST", "/api/v2/write", status, content=f"opcua,equipment=CNC-0012 produced=140{i}i {time.time_ns()}",
            params={"bucket": "b", "org": "o"}, headers={"Prefer": prefer},
        )  # fmt: skip
    ask("POST", "/api/v2/write", 422, content="opcua,equipment=CNC-0012 produced=1i noon")
    ask("POST", "/api/v2/write", 401, content="a b=1", by="qk_wrong")
    ask("POST", "/write", 204, content=f"CNC-0012 produced=1405i {time.time_ns()}", params={"db": "d"})
    ask("POST", "/write", 422, content="CNC-0012 produced=1i noon", params={"precision": "u"})
    ask("POST", "/write", 401, content="a b=1", by="qk_wrong")


def _files(ask: Asking) -> None:
    for form in ("", ".xlsx", ".csv"):
        ask("GET", f"/api/v1/datasets/{{name}}/template{form}", 200, fill={"name": "milestone"})
    ask("GET", "/api/v1/datasets/{name}/template", 200, fill={"name": "milestone"}, params={"format": "csv"})
    upload = "/api/v1/datasets/{name}/files"
    rows = "里程碑代码,里程碑名称,计划日期\nM-04,全部设备联网,2026-10-31\nM-05,验收,年底\n"
    given: dict[str, Any] = {"fill": {"name": "milestone"}, "params": {"file_name": "里程碑.csv"}}
    one = ask("POST", upload, 202, content=rows.encode(), headers={"Content-Type": "text/csv"}, **given)
    form = {"file": ("里程碑.csv", rows.encode(), "text/csv")}
    ask("POST", upload, 202, files=form, data={"dry_run": "true"}, fill={"name": "milestone"})
    for _ in range(200):
        if ask("GET", "/api/v1/files/{upload_id}", 200, fill={"upload_id": one["id"]})["finished"]:
            break
        time.sleep(0.1)
    ask("GET", "/api/v1/files", 200)
    ask("GET", "/api/v1/files/{upload_id}/marked", 200, fill={"upload_id": one["id"]})
    ask("GET", "/api/v1/files/{upload_id}", 404, fill={"upload_id": "0" * 32})
    ask("GET", "/api/v1/files/{upload_id}/marked", 422, fill={"upload_id": "%00"})


def _refused(ask: Asking) -> None:
    held = ask("GET", "/api/v1/quarantine", 200)["quarantine"]
    ask("GET", "/api/v1/quarantine/{quarantine_id}", 200, fill={"quarantine_id": held[0]["id"]})
    for form in ("ndjson", "csv"):
        ask("GET", "/api/v1/quarantine/export", 200, params={"format": form})
    ask("POST", "/api/v1/quarantine/replay", 200, json={"filter": {"tag": "CNC-0012.stat"}})
    ask("POST", "/api/v1/quarantine/replay", 422, json={})


def _service(ask: Asking) -> None:
    beat = {"source": "gateway-1", "clock": now(), "round_trip_s": 0.04, "queue_depth": 0, "version": "1.4.2"}
    ask("POST", "/api/v1/heartbeat", 200, json=beat)
    ask("GET", "/api/v1/registration", 200)
    ask("GET", "/api/v1/me", 200)
    ask("GET", "/api/v1/sources", 200)
    stoppage = {"kind": "maintenance", "from": now(3600), "to": now(7200), "reason": "年度检修",
                "equipment_codes": ["CNC-0012"]}  # fmt: skip
    declared = {"stoppage_id": ask("POST", "/api/v1/stoppages", 201, json=stoppage)["stoppage_id"]}
    ask("PATCH", "/api/v1/stoppages/{stoppage_id}", 200, fill=declared, json={"to": now(9000)})
    ask("GET", "/api/v1/stoppages", 200)
    ask("DELETE", "/api/v1/stoppages/{stoppage_id}", 200, fill=declared)
    new = {"name": "MES", "scopes": ["measurements:write", "service:write"], "expires_in_days": 365}
    issued = {"key_id": ask("POST", "/api/v1/keys", 201, json=new)["issued"]["key_id"]}
    rotated = ask("POST", "/api/v1/keys/{key_id}/rotate", 201, fill=issued, json={"overlap_hours": 24})
    ask("DELETE", "/api/v1/keys/{key_id}", 200, fill={"key_id": rotated["issued"]["key_id"]})
    ask("GET", "/api/v1/keys", 200)
    ask("DELETE", "/api/v1/keys/{key_id}", 404, fill={"key_id": 2**31 - 1})


def _reads(ask: Asking) -> None:
    ask("GET", "/api/v1/codes", 200)
    for name in ("signal", "region", "permission"):
        table = ask("GET", "/api/v1/codes/{name}", 200, fill={"name": name})
    tag = {"If-None-Match": f'"{table["version"]}"'}
    ask("GET", "/api/v1/codes/{name}", 304, fill={"name": name}, headers=tag)
    ask("GET", "/api/v1/datasets", 200)
    ask("GET", "/api/v1/datasets/{name}/schema", 200, fill={"name": "milestone"})
    ask("GET", "/api/v1/datasets/{name}/records", 200, fill={"name": "milestone"})
    ask("GET", "/api/v1/datasets/{name}/records", 200, fill={"name": "milestone"}, params={"as_of": now()})
    ask("GET", "/api/v1/datasets/{name}/revisions", 200, fill={"name": "milestone"}, params={"key": "M-03"})
    ask("GET", "/api/v1/latest", 200)
    ask("GET", "/api/v1/series", 200, params={"tags": f"{NUMBER},{STATE},{ALARM}", "points": 10})
    ask("GET", "/api/v1/series", 200, params={"tags": f"{FLOAT},{STATE}"})
    ask("GET", "/api/v1/series", 422, params={"tags": NUMBER, "points": 0})
    ask("GET", "/api/v1/indicators/catalogue", 200)
    ask("GET", "/api/v1/indicators", 200, params={"period": "hour"})
    for form in ("csv", "xlsx", "parquet"):
        ask("GET", "/api/v1/export/readings", 200, params={"format": form, "equipment": "CNC-0012"})
        ask("GET", "/api/v1/export/indicators", 200, params={"format": form, "period": "hour"})
        ask("GET", "/api/v1/export/datasets/{name}", 200, fill={"name": "milestone"}, params={"format": form})
    ask("GET", "/api/v1/quality", 200)
    ask("GET", "/api/v1/submissions", 200, params={"limit": 3})
    ask("GET", "/api/v1/audit", 200, params={"action": "key.issued"})
    ask(
        "GET",
        "/api/v1/audit",
        403,
        by=ask("POST", "/api/v1/keys", 201, json={"name": "x", "scopes": ["keys:read"]})["key"],
    )


def _people(ask: Asking) -> None:
    operator = ask.session
    password = ask("POST", "/api/v1/people", 201, by=operator, json=PERSON)["password"]
    ask("POST", "/api/v1/people", 409, by=operator, json=PERSON)
    login, path = {"user": PERSON["name"], "password": password}, "/api/v1/session"
    session = ask("POST", path, 201, by="", json=login)["token"]
    ask("POST", path, 401, by="", json={**login, "password": "wrong"})
    changed = {"old": password, "new": "correct-horse-battery-staple-9"}
    ask("POST", "/api/v1/me/password", 204, by=session, json=changed)
    session = ask("POST", path, 201, by="", json={**login, "password": changed["new"]})["token"]
    ask("DELETE", path, 204, by=session)
    ask("DELETE", path, 401, by=session)
    ask("GET", "/api/v1/people", 200, by=operator)
    ask(
        "PATCH",
        "/api/v1/people/{name}",
        200,
        by=operator,
        fill={"name": PERSON["name"]},
        json={"disabled": True},
    )
    ask("GET", "/api/v1/keys", 200, by=operator, params={"unit": UNIT})
    ask("GET", "/api/v1/latest", 422, by=operator)
