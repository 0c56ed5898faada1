"""Plan the static description of a province: a pure function of the seed (and of the ``as_of`` date)."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

from simulators.names import BRAND_FIRST, BRAND_SECOND, KINDS, PILOTS, TOWN_OR_COUNTY, Kind, PilotSeed
from simulators.province import (
    Enterprise,
    Equipment,
    Gateway,
    Milestone,
    Park,
    Pilot,
    Province,
    Source,
    Tag,
    Unit,
)
from simulators.uscc import uscc

HISTORY_STATE_S = 300
HISTORY_COUNTER_S = 300
HISTORY_PROCESS_S = 900

PULL_PORT_OFFSET = 50
"""OPC UA servers take the offsets from 0, platforms to be pulled those from here."""

_MILESTONES = (
    ("M1", "方案备案与牵头单位遴选", 0),
    ("M2", "数字化转型诊断全覆盖", 90),
    ("M3", "行业平台上线与设备接入", 180),
    ("M4", "首批标杆企业验收", 300),
    ("M5", "中期评估", 420),
    ("M6", "试点考核验收", 600),
)

_STAGE_ORDER = {"selection": 0, "incubation": 2, "piloting": 3, "assessment": 5, "demonstration": 6}


def plan_province(
    seed: int, *, pilots: int = 6, enterprises: int = 60, equipment: int = 300, as_of: date
) -> Province:
    """Describe a province with this many pilots, enterprises and machines.

    Enterprises and machines are spread evenly over the pilots. Raises ValueError when a pilot
    would have fewer than 5 enterprises or 4 machines, too few for every way of supply.
    """
    if pilots < 1 or enterprises < 5 * pilots or equipment < 4 * pilots:
        raise ValueError("a pilot needs at least 5 enterprises and 4 machines")
    random = Random(f"qunce-province-{seed}")
    province = Province(
        seed=seed, as_of=as_of.isoformat(), pilots=[], parks=[], enterprises=[], equipment=[], sources=[]
    )
    for index in range(pilots):
        basis = PILOTS[index % len(PILOTS)]
        pilot = _pilot(random, basis, index, as_of)
        province.pilots.append(pilot)
        parks = _parks(basis, pilot)
        province.parks += parks
        joined = _enterprises(random, basis, pilot, parks, _share(enterprises, pilots, index), as_of)
        province.enterprises += joined
        is_odd = index % 2 == 1
        platform = None if is_odd and index == pilots - 1 else ("http_pull" if is_odd else "http_push")
        _machines(
            random, province, basis, pilot, joined, _share(equipment, pilots, index), platform, index, as_of
        )
    return province


def _share(total: int, parts: int, index: int) -> int:
    return total * (index + 1) // parts - total * index // parts


def _pilot(random: Random, basis: PilotSeed, index: int, as_of: date) -> Pilot:
    code = f"GD-{basis.abbreviation}-{index + 1:02d}"
    started = as_of - timedelta(days=30 * basis.months_ago + random.randrange(20))
    kind_zh, kind_en = ("龙头企业联合体", "Leading Enterprises Consortium")
    if basis.path == 2:
        kind_zh, kind_en = ("产业集群数字化赋能中心", "Cluster Digital Enablement Centre")
    unit = Unit(
        code=code,
        name_zh=f"{basis.city_zh}市{basis.topic_zh}{kind_zh}",
        name_en=f"{basis.city_en} {basis.topic_en} {kind_en}",
        path=basis.path,
        uscc=uscc("91", basis.counties[0], f"{random.randrange(10**8):08d}"),
    )
    done = _STAGE_ORDER[basis.stage]
    milestones = []
    for place, (milestone, name, after) in enumerate(_MILESTONES):
        planned = started + timedelta(days=after)
        slip = random.randrange(-12, 8) + (25 if basis.gain < 0 else 0)
        accepted = planned + timedelta(days=slip)
        is_done = place < done and accepted <= as_of
        milestones.append(
            Milestone(
                code=f"{code}-{milestone}",
                name=name,
                planned_on=planned.isoformat(),
                accepted_on=accepted.isoformat() if is_done else None,
            )
        )
    return Pilot(
        code=f"P-{code}",
        name_zh=f"{basis.city_zh}市{basis.topic_zh}产业集群数字化转型试点",
        name_en=f"{basis.city_en} {basis.topic_en} Cluster Pilot",
        cluster_code=basis.cluster_code,
        region_code=basis.region_code,
        stage=basis.stage,
        started_on=started.isoformat(),
        unit=unit,
        milestones=milestones,
        gain=basis.gain,
        loss=basis.loss,
    )


def _parks(basis: PilotSeed, pilot: Pilot) -> list[Park]:
    code = pilot.unit.code
    return [
        Park(
            code=f"{code}-PK1",
            unit=code,
            name=f"{basis.city_zh}{TOWN_OR_COUNTY[basis.counties[0]]}{basis.topic_zh}产业园",
            region_code=basis.counties[0],
            virtual=False,
        ),
        Park(
            code=f"{code}-PK2",
            unit=code,
            name=f"{basis.city_zh}{basis.topic_zh}虚拟产业园",
            region_code=basis.region_code,
            virtual=True,
        ),
    ]


def _enterprises(
    random: Random, basis: PilotSeed, pilot: Pilot, parks: list[Park], count: int, as_of: date
) -> list[Enterprise]:
    """Company names are unique within a pilot; dates of joining run from the pilot's start to ``as_of``."""
    first, second, words = BRAND_FIRST.split(), BRAND_SECOND.split(), basis.words.split()
    brands = random.sample([one + two for one in first for two in second], count)
    started = date.fromisoformat(pilot.started_on)
    days = max(1, (as_of - started).days)
    joined = []
    for place, brand in enumerate(brands):
        county = random.choice(basis.counties)
        place_name = random.choice((basis.city_zh + "市", basis.city_zh + "市" + TOWN_OR_COUNTY[county]))
        share = (place + random.random()) / count
        scale = "large" if place == 0 else random.choice(("medium", "small", "small", "micro"))
        joined.append(
            Enterprise(
                uscc=uscc("91", county, f"{random.randrange(10**8):08d}"),
                unit=pilot.unit.code,
                name=f"{place_name}{brand}{random.choice(words)}{'股份' if place == 0 else ''}有限公司",
                region_code=county,
                industry=basis.topic_zh,
                park_code=random.choice((parks[0].code, parks[1].code, None)),
                registered_on=(started + timedelta(days=int(days * share))).isoformat(),
                scale=scale,
            )
        )
    return joined


def _machines(
    random: Random,
    province: Province,
    basis: PilotSeed,
    pilot: Pilot,
    joined: list[Enterprise],
    count: int,
    platform: str | None,
    index: int,
    as_of: date,
) -> None:
    """Give 30 % of the machines to an OPC UA factory, 40 % to a platform if there is one, the rest to MQTT."""
    unit = pilot.unit.code
    n_opcua = max(1, round(count * 0.3))
    n_platform = max(1, round(count * 0.4)) if platform else 0
    n_mqtt = count - n_opcua - n_platform
    n_platform_factories = max(1, len(joined) // 3) if platform else 0
    rest = joined[1 + n_platform_factories :]
    mqtt_factories = rest[: max(1, len(rest) * 2 // 3)]
    numbers: dict[str, int] = {}
    opcua = _factory(random, province, basis, joined[0], n_opcua, numbers, as_of)
    province.sources.append(
        Source(name=f"{unit}-F1", protocol="opcua", unit=unit, equipment=opcua, port_offset=index)
    )
    if platform:
        codes: list[str] = []
        for place in range(n_platform_factories):
            share = _share(n_platform, n_platform_factories, place)
            codes += _factory(random, province, basis, joined[1 + place], share, numbers, as_of)
        is_pull = platform == "http_pull"
        province.sources.append(
            Source(
                name=f"{unit}-PLATFORM" if is_pull else unit,
                protocol=platform,
                unit=unit,
                equipment=codes,
                port_offset=PULL_PORT_OFFSET + index if is_pull else None,
            )
        )
    gateways = []
    for place, factory in enumerate(mqtt_factories):
        share = _share(n_mqtt, len(mqtt_factories), place)
        if share:
            codes = _factory(random, province, basis, factory, share, numbers, as_of)
            client_id = f"gw-{unit}-{place + 1}"
            gateways.append(Gateway(client_id=client_id, enterprise_uscc=factory.uscc, equipment=codes))
    if gateways:
        codes = [code for gateway in gateways for code in gateway.equipment]
        province.sources.append(
            Source(name=unit, protocol="mqtt", unit=unit, equipment=codes, gateways=gateways)
        )


def _factory(
    random: Random,
    province: Province,
    basis: PilotSeed,
    factory: Enterprise,
    count: int,
    numbers: dict[str, int],
    as_of: date,
) -> list[str]:
    """Add ``count`` machines of one factory to the province and return their codes."""
    # the large ones work round the clock, so that there is something to see at any hour
    weights = (0, 3, 5) if factory.scale == "large" else (3, 3, 3)
    pattern = random.choices(("day", "two", "three"), weights)[0]
    rests = pattern == "day" or (pattern == "two" and random.random() < 0.6)
    codes = []
    for _ in range(count):
        kind = KINDS[random.choice(basis.kinds)]
        numbers[kind.prefix] = number = numbers.get(kind.prefix, 0) + 1
        code = f"{kind.prefix}-{number:04d}"
        commissioned = as_of - timedelta(days=random.randrange(400, 3600))
        province.equipment.append(
            Equipment(
                code=code,
                unit=factory.unit,
                enterprise_uscc=factory.uscc,
                name=f"{kind.name_zh}{number}号",
                kind=kind.code,
                rated_capacity_per_h=round(3600 / kind.pri_s[0] * 1.1, 1),
                digital=True,
                networked=True,
                commissioned_on=commissioned.isoformat(),
                pattern=pattern,
                rests_on_sunday=rests,
                tags=_tags(code, kind),
            )
        )
        codes.append(code)
    return codes


def _tags(code: str, kind: Kind) -> list[Tag]:
    def tag(
        signal: str,
        data_type: str,
        unit: str,
        history_s: int,
        live_s: int,
        low: float | None,
        high: float | None,
    ) -> Tag:
        return Tag(
            name=f"{code}.{signal}",
            signal=signal,
            data_type=data_type,
            unit=unit,
            history_interval_s=history_s,
            live_interval_s=live_s,
            range_min=low,
            range_max=high,
        )

    tags = [tag(name, "enum", "1", HISTORY_STATE_S, 30, None, None) for name in ("state", "mode")]
    tags += [
        tag(name, "counter", "1", HISTORY_COUNTER_S, 10, 0.0, None) for name in ("produced", "good", "scrap")
    ]
    tags.append(tag("energy", "counter", "kW.h", HISTORY_PROCESS_S, 60, 0.0, None))
    for process in (kind.temperature, kind.extra):
        tags.append(
            tag(process.signal, "float", process.unit, HISTORY_PROCESS_S, 10, process.low, process.high)
        )
    return tags
