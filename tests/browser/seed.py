"""Fills a database with a province as the platform would have it after 14 days: for the pages' tests and for
looking at the pages. Deterministic by seed; everything is relative to the database's present time."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb

from store.database import Connection
from store.layout import DayPartitions

ZONE = ZoneInfo("Asia/Shanghai")
ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
PILOTS = (
    ("GD-ELE-01", "东莞电子信息产业集群试点", "Dongguan Electronics Cluster Pilot", "441900", "piloting", 270, 0.78),
    ("GD-APP-01", "佛山智能家电产业集群试点", "Foshan Smart Appliance Cluster Pilot", "440600", "demonstration", 640, 0.84),
    ("GD-AUT-01", "广州汽车零部件产业集群试点", "Guangzhou Automotive Parts Cluster Pilot", "440100", "assessment", 450, 0.81),
    ("GD-TEX-01", "汕头纺织服装产业集群试点", "Shantou Textile Cluster Pilot", "440500", "piloting", 240, 0.62),
    ("GD-LAS-01", "深圳激光与增材制造产业集群试点", "Shenzhen Laser and Additive Cluster Pilot", "440300", "incubation", 90, 0.73),
    ("GD-LGT-01", "中山灯饰照明产业集群试点", "Zhongshan Lighting Cluster Pilot", "442000", "incubation", 120, 0.69),
    ("GD-DIS-01", "惠州超高清视频显示产业集群试点", "Huizhou UHD Display Cluster Pilot", "441300", "piloting", 210, 0.76),
    ("GD-MTL-01", "揭阳金属制品产业集群试点", "Jieyang Metal Products Cluster Pilot", "445200", "selection", 30, 0.66),
)  # fmt: skip
PROTOCOLS = ("opcua", "mqtt", "http_push", "http_pull")
KINDS = (
    ("CNC", "数控加工中心"),
    ("INJ", "注塑机"),
    ("SMT", "贴片线"),
    ("PRS", "冲压机"),
    ("ROB", "焊接机器人"),
)
TASKS = (
    "需求调研报告",
    "行业平台一期上线",
    "首批企业接入",
    "标杆案例验收",
    "工业互联园区建设",
    "百家企业上云",
    "期满评估",
)
RATIOS = (
    "equip.oee", "equip.availability", "equip.effectiveness", "equip.quality_ratio", "equip.run_rate",
    "conn.equip_online_rate", "dq.transmission_rate", "dq.validity_rate", "dq.effective_rate", "dq.timeliness",
)  # fmt: skip


def uscc(number: int) -> str:
    """A valid 统一社会信用代码 (GB 32100-2015)."""
    body = f"91440000MA{number:07d}"
    total = sum(ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(body))
    return body + ALPHABET[(31 - total % 31) % 31]


def seed_province(conn: Connection, *, enterprises: int = 60, machines: int = 300, days: int = 14) -> None:
    """8 pilots, `enterprises`, `machines`, `days` of indicator values, milestones, sources, refusals."""
    chance = random.Random(20261123)
    row = conn.execute("SELECT date_trunc('second', now())").fetchone()
    assert row is not None
    now: datetime = row[0]
    with conn.transaction():
        clusters = [r[0] for r in conn.execute("SELECT code FROM cluster ORDER BY code")]
        pilots = [_pilot(conn, n, spec, clusters[n % len(clusters)], now) for n, spec in enumerate(PILOTS)]
        counter = 0
        for n in range(enterprises):
            unit_id = pilots[n % len(pilots)][1]
            counter = _enterprise(conn, chance, n, unit_id, PILOTS[n % len(pilots)], now, counter,
                                  machines * (n + 1) // enterprises - machines * n // enterprises)  # fmt: skip
        for (pilot_id, unit_id), spec in zip(pilots, PILOTS, strict=True):
            _milestones(conn, unit_id, spec, now)
            _indicators(conn, chance, "cluster", pilot_id, spec[6], now, days, len(spec))
        _indicators(conn, chance, "province", 0, 0.74, now, days, 8)
        firms = conn.execute("SELECT enterprise_id FROM enterprise ORDER BY 1").fetchall()
        for (firm,) in firms:
            _indicators(conn, chance, "enterprise", firm, 0.55 + chance.random() * 0.35, now, 1, 0, hours=0)
        _sources(conn, chance, pilots, now)
        for name in ("api", "writer", "metrics"):
            beat(conn, name)
        _operations(conn, now)
    conn.commit()
    _history(conn, now)


def beat(conn: Connection, component: str, age_s: float = 0) -> None:
    """Let a part of the platform report, `age_s` seconds ago."""
    conn.execute(
        "INSERT INTO component_status VALUES (%s, 'test', 'ok', '{}', clock_timestamp() - %s * interval '1 s')"
        " ON CONFLICT (component, instance) DO UPDATE SET beat_at = excluded.beat_at",
        (component, age_s),
    )


def arrive(conn: Connection, rows: int = 90) -> None:
    """Data arrive now: the ledger, the running slot, the latest values and the parts' beats move on."""
    chance = random.Random(rows)
    conn.execute("UPDATE ingest_ledger SET received = received + %s, stored = stored + %s,"
                 " last_received_at = clock_timestamp(), last_source_ts = clock_timestamp()"
                 " WHERE last_received_at > now() - interval '2 minutes'", (rows, rows))  # fmt: skip
    conn.execute(
        "INSERT INTO arrival SELECT source_id, date_bin('10 seconds', clock_timestamp(), 'epoch'), %s, %s"
        " FROM ingest_ledger WHERE last_received_at > now() - interval '5 seconds'"
        " ON CONFLICT (source_id, slot) DO UPDATE SET received = arrival.received + excluded.received,"
        " live = arrival.live + excluded.live",
        (more := rows + chance.randrange(120), more),
    )
    conn.execute("UPDATE latest_value SET ts = clock_timestamp(), received_at = clock_timestamp()"
                 " WHERE ts > now() - interval '3 minutes'")  # fmt: skip
    conn.execute(
        "UPDATE indicator_value SET computed_at = clock_timestamp() WHERE provisional OR period = 'now'"
    )
    for name in ("api", "writer", "metrics"):
        beat(conn, name)
    conn.execute(
        "UPDATE component_status SET detail = jsonb_set(detail, '{rows}', to_jsonb((detail ->> 'rows')::int + %s))"
        " WHERE component = 'writer'",
        (20 * rows,),
    )
    conn.execute("UPDATE canary SET stored_at = clock_timestamp(), sent_at = clock_timestamp() - interval '0.3 s',"
                 " count = count + 1 WHERE connector <> 'opcua-old'")  # fmt: skip


def _operations(conn: Connection, now: datetime) -> None:
    """What the parts tell: rows that wait, how full log and disk are; canaries, one of them long gone; clocks."""
    told = {
        "writer": {"rows": 10_000, "rss_bytes": 214 * 2**20, "pending_rows": 5_400,
                   "pending": [["GD-TEX-01", "opcua:gd-tex-01", 5_000], ["NOBODY", "mqtt:x", 400]],
                   "log": {"bytes": 3 * 2**30, "limit_bytes": 8 * 2**30}},
        "api": {"rss_bytes": 160 * 2**20, "log": {"bytes": 3 * 2**30, "limit_bytes": 8 * 2**30},
                "disk": {"free_bytes": 70 * 2**30, "total_bytes": 200 * 2**30}, "canaries_since": 0},
    }  # fmt: skip
    for component, detail in told.items():
        conn.execute(
            "UPDATE component_status SET detail = %s WHERE component = %s", (Jsonb(detail), component)
        )
    for n, name in enumerate(("api", "mqtt-platform", "opcua-ele-01", "opcua-old")):
        age = timedelta(minutes=12) if name == "opcua-old" else timedelta(seconds=2)
        conn.execute(
            "INSERT INTO canary VALUES (%s, %s, %s, %s, %s)", (name, now - age, now - age, now - age, 900 + n)
        )
        if name != "api":
            conn.execute(
                "INSERT INTO component_status VALUES (%s, 'test', 'ok', %s, now() + interval '1 day')",
                (name, Jsonb({"canaries_since": 0, "type": name.partition("-")[0]})),
            )
    conn.execute("INSERT INTO clock_skew SELECT source_id, -0.4 + source_id %% 3, 2.5, now() FROM source", ())
    conn.execute(
        "INSERT INTO quarantine (unit_id, source_id, batch, place, reason, parameters, original, received_at)"
        " SELECT 0, 0, 'b', '$', 'unknown_unit', '{\"unit\": \"NOBODY\"}', '', now() FROM generate_series(1, 30)"
    )


def _pilot(conn: Connection, n: int, spec: tuple[Any, ...], cluster: str, now: datetime) -> tuple[int, int]:
    code, zh, en, region, stage, age, _ = spec
    short = zh.removesuffix("产业集群试点")
    unit = conn.execute(
        "INSERT INTO lead_unit (code, name_zh, name_en, path, uscc) VALUES (%s, %s, %s, %s, %s) RETURNING unit_id",
        (code, f"{short}工业互联网有限公司", en.removesuffix(" Cluster Pilot") + " Industrial Internet Ltd",
         1 + n % 2, uscc(9_000_000 + n)),
    ).fetchone()  # fmt: skip
    assert unit is not None
    pilot = conn.execute(
        "INSERT INTO pilot (code, name_zh, name_en, cluster_code, region_code, unit_id, stage, started_on)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING pilot_id",
        (
            code.removeprefix("GD-"),
            zh,
            en,
            cluster,
            region,
            unit[0],
            stage,
            (now - timedelta(days=age)).date(),
        ),
    ).fetchone()
    assert pilot is not None
    return pilot[0], unit[0]


def _enterprise(
    conn: Connection, chance: random.Random, n: int, unit_id: int, spec: tuple[Any, ...], now: datetime,
    counter: int, machines: int,
) -> int:  # fmt: skip
    words = ("精密", "智造", "电子", "科技", "五金", "机电", "光电", "新材料")
    firm = conn.execute(
        "INSERT INTO enterprise (unit_id, uscc, name, region_code, industry, registered_on, scale)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING enterprise_id",
        (unit_id, uscc(n + 1), f"{spec[1][:2]}{chance.choice('华宏鑫盛达恒瑞')}{chance.choice('源泰丰业创凯')}"
         f"{chance.choice(words)}有限公司", spec[3], "制造业", (now - timedelta(days=chance.randrange(5, 400))).date(),
         chance.choice(("large", "medium", "small", "small", "micro"))),
    ).fetchone()  # fmt: skip
    assert firm is not None
    for _ in range(machines):
        counter += 1
        prefix, name = KINDS[counter % len(KINDS)]
        code = f"{prefix}-{counter:04d}"
        machine = conn.execute(
            "INSERT INTO equipment (unit_id, enterprise_id, code, name, kind, digital, networked)"
            " VALUES (%s, %s, %s, %s, %s, true, true) RETURNING equipment_id",
            (unit_id, firm[0], code, f"{name} {counter}", prefix.lower()),
        ).fetchone()
        assert machine is not None
        _tags(conn, chance, unit_id, machine[0], code, now)
    return counter


def _tags(
    conn: Connection, chance: random.Random, unit_id: int, machine: int, code: str, now: datetime
) -> None:
    kind = chance.choices(("run", "idle", "setup", "fault", "off", "silent"), (66, 14, 7, 5, 2, 6))[0]
    state = {"run": 3, "idle": 2, "setup": 3, "fault": 1, "off": 0, "silent": 3}[kind]
    mode = {"run": 3, "idle": 0, "setup": 2, "fault": 0, "off": 0, "silent": 3}[kind]
    at = now - timedelta(
        seconds=chance.randrange(1, 50) + (3000 + chance.randrange(9000) if kind == "silent" else 0)
    )
    for signal, value in (("state", state), ("mode", mode)):
        tag = conn.execute(
            "INSERT INTO tag (unit_id, equipment_id, name, signal, data_type, unit)"
            " VALUES (%s, %s, %s, %s, 'enum', '1') RETURNING tag_id",
            (unit_id, machine, f"{code}.{signal}", signal),
        ).fetchone()
        assert tag is not None
        conn.execute("INSERT INTO reporting_schedule VALUES (%s, %s, 60)", (tag[0], now - timedelta(days=30)))
        conn.execute("INSERT INTO latest_value VALUES (%s, %s, %s, NULL, 0, %s)", (tag[0], at, value, at))


def _history(conn: Connection, now: datetime) -> None:
    # The present state began some minutes ago: one other value before it.
    auto = conn.autocommit
    conn.autocommit = True
    DayPartitions(conn).ensure(conn, [(now - timedelta(days=d)).date() for d in range(3)])
    conn.autocommit = auto
    conn.execute(
        "INSERT INTO measurement SELECT l.tag_id, l.ts - m.back * interval '1 minute', m.value, 0"
        " FROM latest_value l JOIN tag t USING (tag_id),"
        " LATERAL (VALUES (0, l.value), (3 + (l.tag_id * 37) %% 170, l.value),"
        "  (4 + (l.tag_id * 37) %% 170, (l.value + 1)::int %% 4)) m (back, value)"
        " WHERE t.signal = 'state'".replace("%%", "%")
    )
    conn.commit()


def _milestones(conn: Connection, unit_id: int, spec: tuple[Any, ...], now: datetime) -> None:
    start: date = (now - timedelta(days=spec[5])).date()
    today = now.astimezone(ZONE).date()
    for n, name in enumerate(TASKS):
        planned = start + timedelta(days=20 + 62 * n)
        done = planned + timedelta(days=-3 + 4 * (n % 3))
        accepted = done if done < today and not (spec[0] == "GD-TEX-01" and n >= 3) else None
        conn.execute(
            "INSERT INTO milestone VALUES (%s, %s, %s, %s, %s)",
            (unit_id, f"M{n + 1:02d}", name, planned, accepted),
        )


def _indicators(
    conn: Connection, chance: random.Random, level: str, entity: int, good: float, now: datetime, days: int,
    spread: int, hours: int = 48,
) -> None:  # fmt: skip
    rows: list[tuple[Any, ...]] = []

    def add(code: str, period: str, start: datetime, value: float, provisional: bool) -> None:
        computed = (
            now if provisional or period == "now" else start + timedelta(hours=1 if period == "hour" else 24)
        )
        rows.append((code, level, entity, period, start, value, 240, 0.97, provisional, min(computed, now)))

    phase = chance.random() * 6
    local = now.astimezone(ZONE)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(days, -1, -1):
        start = midnight - timedelta(days=day)
        for code in RATIOS:
            add(code, "day", start, _level(code, good, day, phase, chance), day == 0)
        add("energy.total", "day", start, (0.96 + 0.11 * math.sin(day + phase)) * (8 if level == "province" else 1)
            * (local.hour / 24 + 0.02 if day == 0 else 1), day == 0)  # fmt: skip
        if level in ("cluster", "province"):
            add("proj.milestone_on_time", "day", start, min(1.0, good + 0.1), day == 0)
    hour = now.replace(minute=0, second=0, microsecond=0)
    for back in range(hours, -1, -1):
        start = hour - timedelta(hours=back)
        for code in RATIOS:
            add(code, "hour", start, _level(code, good, back / 9, phase, chance), back == 0)
        add(
            "energy.total",
            "hour",
            start,
            0.039 + 0.008 * math.sin(back / 4 + phase) + 0.001 * chance.random(),
            back == 0,
        )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    add(
        "conn.equip_online_rate", "now", epoch, _level("conn.equip_online_rate", good, 0, phase, chance), True
    )
    share = 1 if level == "province" else 8
    add("plat.devices_connected", "now", epoch, round(282 / share), True)
    add("plat.enterprises_registered", "now", epoch, round(60 / share), True)
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO indicator_value (code, formula_version, level, entity_id, period, period_start, value,"
            " n_inputs, completeness, provenance, provisional, computed_at)"
            " VALUES (%s, 1, %s, %s, %s, %s, %s, %s, %s, 'observed', %s, %s)",
            rows,
        )


def _level(code: str, good: float, x: float, phase: float, chance: random.Random) -> float:
    base = {"equip.oee": good - 0.12, "equip.quality_ratio": 0.96, "equip.availability": good + 0.05,
            "equip.effectiveness": good + 0.08, "equip.run_rate": good}.get(code, 0.90 + good / 10)  # fmt: skip
    swing = 0.004 if code.startswith(("dq.", "conn.")) or code == "equip.quality_ratio" else 0.03
    return min(0.999, base + swing * math.sin(x * 1.7 + phase) + swing * (chance.random() - 0.5) - 0.0012 * x)


def _sources(conn: Connection, chance: random.Random, pilots: list[tuple[int, int]], now: datetime) -> None:
    slot = now.replace(second=now.second // 10 * 10, microsecond=0)
    for n, ((_, unit_id), spec) in enumerate(zip(pilots, PILOTS, strict=True)):
        for protocol in PROTOCOLS[: 2 + n % 3]:
            source = conn.execute(
                "INSERT INTO source (unit_id, key) VALUES (%s, %s) RETURNING source_id",
                (unit_id, f"{protocol}:{spec[0].lower()}"),
            ).fetchone()
            assert source is not None
            silent = spec[0] == "GD-LGT-01" and protocol == "mqtt"
            refused = 4200 if spec[0] == "GD-TEX-01" and protocol == "opcua" else chance.randrange(0, 60)
            stored, doubled = 1_200_000 + chance.randrange(900_000), chance.randrange(4000)
            last = now - timedelta(seconds=2400 if silent else chance.randrange(1, 6))
            conn.execute(
                "INSERT INTO ingest_ledger VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    source[0],
                    stored + doubled + doubled // 9 + refused,
                    stored,
                    doubled,
                    doubled // 9,
                    refused,
                    last,
                    last,
                ),
            )
            recent = 350 if refused > 1000 else 0
            conn.execute(
                "INSERT INTO supply_hour VALUES (0, %s, date_trunc('hour', now()), %s, %s, %s, 0, %s)",
                (source[0], 3600, 3600, 3500, recent),
            )
            conn.execute(
                "INSERT INTO indicator_value (code, formula_version, level, entity_id, period, period_start, value,"
                " n_inputs, provenance, provisional, computed_at) VALUES ('dq.latency_p95', 1, 'source', %s, 'now',"
                " 'epoch', %s, 900, 'observed', true, now())",
                (source[0], 92.0 if spec[0] == "GD-MTL-01" and protocol == "mqtt" else 0.4 + chance.random()),
            )
            conn.execute(
                "INSERT INTO latency_bucket VALUES (%s, date_bin('5 minutes', now(), 'epoch'), 40, 900)",
                (source[0],),
            )
            if not silent:
                conn.execute(
                    "INSERT INTO arrival SELECT %s, slot, n, n FROM (SELECT %s - g * interval '10 s',"
                    " (%s + %s * sin(g / 11.0) + random() * 60)::bigint FROM generate_series(0, 200) g) w (slot, n)",
                    (source[0], slot, 420 + 60 * n, 90),
                )
            if refused > 40:
                _refusals(conn, chance, unit_id, source[0], now)


def _refusals(conn: Connection, chance: random.Random, unit_id: int, source_id: int, now: datetime) -> None:
    for n in range(24):
        reason, parameters = chance.choice(
            (
                ("unknown_tag", {"tag": f"CNC-9{n:03d}.state"}),
                ("wrong_type", {"field": "value", "expected": "float", "got": 'string "007"'}),
                (
                    "clock_ahead",
                    {"ts": (now + timedelta(hours=8)).isoformat(), "ahead_s": "28800", "limit_s": "300"},
                ),
            )
        )
        record = {
            "tag": f"CNC-9{n:03d}.state",
            "ts": now.isoformat(),
            "value": "<img src=x onerror=alert(1)>",
        }
        conn.execute(
            "INSERT INTO quarantine (unit_id, source_id, batch, place, reason, parameters, tag, ts, original,"
            " received_at) VALUES (%s, %s, 'b1', %s, %s, %s, %s, %s, %s, %s)",
            (unit_id, source_id, f"records[{n}].value", reason, Jsonb(parameters), record["tag"], now,
             json.dumps(record, ensure_ascii=False).encode(), now - timedelta(seconds=30 * (24 - n))),
        )  # fmt: skip
