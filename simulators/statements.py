"""What a lead unit's office reports about its pilot, beside the machines' data: a pure function of the province.

A few records of each dataset, so that whoever looks sees all of them; they agree with the register (enterprises,
equipment, parks) and with each other. All days lie between the pilot's start and the province's `as_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from simulators.profile import profile_of
from simulators.province import Enterprise, Equipment, Park, Pilot, Province

Record = dict[str, Any]

_SUPPLIER: Final = "91440000900000033H"
_APPS: Final = (
    ("APS", "智能排产", "app", "计划排程"), ("MES", "生产执行云", "app", "生产管控"), ("EMS", "能耗管理", "app", "能耗管理"),
    ("WEAR", "刀具磨损机理模型", "mechanism_model", "设备管理"), ("TRACE", "质量追溯", "microservice", "质量管理"),
)  # fmt: skip
_SUBJECTS: Final = ("设备联网与数据采集实务", "数据质量与指标口径", "数字化诊断与改造路径", "工业软件应用")
_REVENUE_WAN: Final = {"large": 60_000, "medium": 18_000, "small": 5_000, "micro": 900}
_SCENES: Final = (
    "product_design", "process_design", "marketing", "after_sales", "scheduling", "production_control", "quality",
    "equipment", "safety", "energy", "procurement", "logistics", "finance", "human_resources", "office", "decision",
)  # fmt: skip
_DAY: Final = timedelta(days=1)


def statements(province: Province, unit: str) -> Mapping[str, list[Record]]:
    """Dataset → records of a unit, in an order in which whatever is referred to comes first."""
    [pilot] = [one for one in province.pilots if one.unit.code == unit]
    firms = [one for one in province.enterprises if one.unit == unit]
    machines = [one for one in province.equipment if one.unit == unit]
    parks = [one for one in province.parks if one.unit == unit]
    today = date.fromisoformat(province.as_of)
    random = Random(f"qunce-statements-{province.seed}-{unit}")
    return {
        **_platform(random, pilot, firms, today),
        **_parks(random, pilot.started_on, parks, firms, machines, today),
        **_firms(random, province, pilot, firms, machines, today),
        **_finance(random, pilot, firms, province.bank, today),
        **_project(random, pilot, firms, today),
    }


def _share(records: list[Any], part: float) -> list[Any]:
    return records[: max(1, round(part * len(records)))]


def _since(day: str, ago: int, today: date) -> str:
    """So many days ago, but not before `day`."""
    return max(day, (today - ago * _DAY).isoformat())


def _later(day: date, days: int, today: date) -> str:
    """So many days later, today at the latest."""
    return min(day + days * _DAY, today).isoformat()


def _platform(random: Random, pilot: Pilot, firms: list[Enterprise], today: date) -> dict[str, list[Record]]:
    started = date.fromisoformat(pilot.started_on)
    apps = [
        {"code": f"APP-{code}", "name": name, "kind": kind, "subject": subject, "owner": pilot.unit.name_zh,
         "published_on": _later(started, 20 + 15 * place, today)}
        for place, (code, name, kind, subject) in enumerate(_APPS)
    ]  # fmt: skip
    contracts, usage = [], []
    for place, firm in enumerate(_share(firms, 0.7)):
        app, amount = apps[place % len(apps)], round(random.uniform(1, 12), 2)
        start = date.fromisoformat(_later(date.fromisoformat(firm.registered_on), 15, today))
        contracts.append(
            {"contract_no": f"HT-{start.year}-{place + 1:04d}", "enterprise_uscc": firm.uscc, "app_code": app["code"],
             "start_on": start.isoformat(), "end_on": (start + 365 * _DAY).isoformat(), "amount_wan": amount,
             "paid_wan": round(amount * random.uniform(0.3, 1), 2), "renewal": False}
        )  # fmt: skip
        for back in range(1, 8):
            users = random.randrange(2, 20)
            usage.append(
                {"app_code": app["code"], "enterprise_uscc": firm.uscc, "day": (today - back * _DAY).isoformat(),
                 "sessions": users * random.randrange(1, 5), "users": users, "calls": random.randrange(200, 4000),
                 "used_h": round(users * random.uniform(0.5, 3), 1)}
            )  # fmt: skip
    calls = []
    for name in ("order-query", "equipment-state"):
        for back in range(1, 8):
            total = random.randrange(20_000, 90_000)
            at = f"{today - back * _DAY}T00:00:00+08:00"
            calls.append({"interface": name, "start": at, "span": "day", "calls": total,
                          "succeeded": total - random.randrange(total // 200)})  # fmt: skip
    identifiers = [
        {"enterprise_uscc": firm.uscc, "prefix": f"88.188.{2000 + place}", "day": (today - _DAY).isoformat(),
         "registered": random.randrange(100, 2000), "registered_total": random.randrange(20_000, 90_000),
         "resolutions": random.randrange(500, 6000)}
        for place, firm in enumerate(_share(firms, 0.5))
    ]  # fmt: skip
    invited = random.randrange(80, 200)
    survey = {"code": "SAT-01", "subject": "行业平台整体", "conducted_by": "第三方调查机构",
              "opened_on": _later(started, 90, today), "closed_on": _later(started, 110, today), "invited": invited,
              "respondents": round(invited * random.uniform(0.5, 0.9)), "score": round(random.uniform(78, 93), 1)}  # fmt: skip
    return {"app": apps, "subscription": contracts, "app_usage": usage, "api_statistic": calls,
            "identifier_statistic": identifiers, "satisfaction_survey": [survey]}  # fmt: skip


def _parks(
    random: Random,
    started: str,
    parks: list[Park],
    firms: list[Enterprise],
    machines: list[Equipment],
    today: date,
) -> dict[str, list[Record]]:
    space, idle = [], []
    month_end = today.replace(day=1) - _DAY
    for park in (one for one in parks if not one.virtual):
        total = random.randrange(60_000, 160_000, 100)
        leased = round(total * random.uniform(0.7, 0.95))
        space.append({"park_code": park.code, "as_of": month_end.isoformat(), "total_m2": total, "leased_m2": leased,
                      "in_production_m2": round(leased * random.uniform(0.8, 1))})  # fmt: skip
        idle.append({"park_code": park.code, "code": "IDLE-001", "kind": "factory", "quantity": 3200,
                     "listed_on": _since(started, 200, today), "reused_quantity": 1800,
                     "reused_on": _since(started, 60, today), "reuse": "共享打样车间"})  # fmt: skip
    residence = [
        {"park_code": firm.park_code, "enterprise_uscc": firm.uscc, "valid_from": firm.registered_on, "kind": "lease",
         "floor_area_m2": random.randrange(800, 6000)}
        for firm in firms
        if any(park.code == firm.park_code and not park.virtual for park in parks)
    ]  # fmt: skip
    shared = []
    for machine in _share(machines, 0.15):
        for back in range(1, 8):
            offered = random.choice((4, 6, 8))
            shared.append({"equipment_code": machine.code, "day": (today - back * _DAY).isoformat(), "offered_h": offered,
                           "used_h": round(offered * random.uniform(0.3, 1), 1)})  # fmt: skip
    return {"park_space": space, "park_residence": residence, "idle_asset": idle, "shared_capacity": shared}


def _firms(
    random: Random,
    province: Province,
    pilot: Pilot,
    firms: list[Enterprise],
    machines: list[Equipment],
    today: date,
) -> dict[str, list[Record]]:
    run_times = []
    for machine in machines:
        profile = profile_of(province, machine, pilot)
        run_times += [
            {"equipment_code": machine.code, "product": product, "valid_from": machine.commissioned_on,
             "planned_run_time_per_item_s": pri_s, "planned_scrap_share": round(profile.kind.scrap, 4)}
            for product, pri_s in zip(profile.kind.products, profile.pri_s, strict=True)
        ]  # fmt: skip
    certificates, rights, accounts, assessments, links = [], [], [], [], []
    quarter = (today.month - 1) // 3
    period = f"{today.year}-Q{quarter}" if quarter else f"{today.year - 1}-Q4"
    for place, firm in enumerate(firms):
        own = [machine for machine in machines if machine.enterprise_uscc == firm.uscc]
        revenue = round(_REVENUE_WAN[firm.scale] * random.uniform(0.7, 1.4))
        staff = max(5, revenue // 100)
        accounts.append(
            {"enterprise_uscc": firm.uscc, "period": period, "revenue_wan": round(revenue / 4, 1),
             "main_business_wan": round(revenue / 4.2, 1), "cost_wan": round(revenue / 5, 1),
             "rd_expense_wan": round(revenue / 4 * random.uniform(0.02, 0.07), 1), "employees": staff}
        )  # fmt: skip
        if place % 3 == 0:
            tier = ("innovative", "srdi", "little_giant")[place // 3 % 3]
            certificates.append(
                {"enterprise_uscc": firm.uscc, "kind": tier, "valid_from": f"{today.year - 1}-01-01",
                 "valid_to": f"{today.year + 2}-01-01", "certificate_no": f"GD-ZJTX-{today.year - 1}-{place + 1:05d}",
                 "issuer": "广东省工业和信息化厅"}
            )  # fmt: skip
            rights.append(
                {"enterprise_uscc": firm.uscc, "right_no": f"ZL{today.year - 2}10{random.randrange(10**6):06d}.{place % 10}",
                 "kind": "invention_patent", "title": "一种加工过程的在线检测方法",
                 "granted_on": (today - 400 * _DAY).isoformat(), "in_use": True}
            )  # fmt: skip
        if own:
            assessments.append(_assessment(random, firm, own, revenue, staff, today))
        if place:
            links.append({"from_uscc": firm.uscc, "to_uscc": firms[0].uscc, "product": "零部件", "kind": "part",
                          "valid_from": firm.registered_on})  # fmt: skip
    chain = [{"uscc": firm.uscc, "name": firm.name, "region_code": firm.region_code, "industry": firm.industry,
              "listed_on": firm.registered_on} for firm in firms]  # fmt: skip
    return {"product_run_time": run_times, "certificate": certificates, "enterprise_statement": accounts,
            "intellectual_property": rights, "digital_assessment": assessments, "industry_enterprise": chain,
            "supply_link": links}  # fmt: skip


def _assessment(
    random: Random, firm: Enterprise, machines: list[Equipment], revenue: int, staff: int, today: date
) -> Record:
    digital, networked = (sum(getattr(one, name) for one in machines) for name in ("digital", "networked"))
    return {
        "enterprise_uscc": firm.uscc, "assessed_on": _since(firm.registered_on, 45, today), "edition": "2024",
        "method": "on_site", "assessor": "示例数字化评测中心", "q1_networks": ["control", "application"],
        "equipment_total": len(machines), "equipment_digital": digital, "q2_digital_equipment": _band(digital, machines),
        "equipment_networked": networked, "q3_networked_equipment": _band(networked, machines),
        "q4_auto_collected": ["energy", "equipment", "production_control"], "q5_systems": "several",
        "q6_network_security": ["A", "B"], "q7_data_security": ["A"], "q8_planning": str(random.randrange(2, 5)),
        "q9_management": ["A", "C"], "q10_talent": ["A", "B"], "q11_investment": "0-10", "q12_energy": "decreased",
        "q13_quality": "increased", "q14_market": "increased", "q15_value": "decreased",
        "energy_tce": round(revenue * 0.018, 1), "energy_before_tce": round(revenue * 0.019, 1),
        "employees": staff, "employees_before": staff, "revenue_wan": revenue, "revenue_before_wan": round(revenue * 0.95),
        "cost_wan": round(revenue * 0.76), "cost_before_wan": round(revenue * 0.75),
        **{f"scene_{name}": random.randrange(1, 4) for name in _SCENES},
    }  # fmt: skip


def _band(part: int, machines: list[Equipment]) -> str:
    """The form's band of a percentage; its upper edge belongs to it."""
    percent = 100 * part / len(machines)
    return next(
        f"{low}-{high}" for low, high in ((0, 10), (10, 20), (20, 40), (40, 60), (60, 100)) if percent <= high
    )


def _finance(
    random: Random, pilot: Pilot, firms: list[Enterprise], bank: str, today: date
) -> dict[str, list[Record]]:
    authorisations, loans, balances = [], [], []
    for place, firm in enumerate(_share(firms, 0.4)):
        authorisations.append(
            {"enterprise_uscc": firm.uscc, "bank_uscc": bank, "valid_from": _since(firm.registered_on, 150, today),
             "valid_to": (today + 580 * _DAY).isoformat(), "document_no": f"SQ-{pilot.unit.code}-{place + 1:03d}"}
        )  # fmt: skip
        if place % 2 == 0:
            number, amount = f"JJ-{pilot.unit.code}-{place + 1:03d}", random.randrange(50, 600, 10)
            loans.append(
                {"bank_uscc": bank, "loan_no": number, "enterprise_uscc": firm.uscc, "kind": "loan",
                 "product": "产业集群数据贷", "amount_wan": amount, "annual_rate": round(random.uniform(0.031, 0.042), 4),
                 "disbursed_on": _since(firm.registered_on, 90, today), "due_on": (today + 275 * _DAY).isoformat(),
                 "first_loan": place % 4 == 0}
            )  # fmt: skip
            balances.append({"bank_uscc": bank, "loan_no": number, "as_of": (today.replace(day=1) - _DAY).isoformat(),
                             "balance_wan": round(amount * 0.9, 2), "risk_class": "normal"})  # fmt: skip
    return {"credit_authorisation": authorisations, "loan": loans, "loan_balance": balances}


def _project(random: Random, pilot: Pilot, firms: list[Enterprise], today: date) -> dict[str, list[Record]]:
    started = date.fromisoformat(pilot.started_on)
    ending = started + 730 * _DAY
    targets, curve = [], []
    for code, baseline, target in (("plat.devices_connected", 0, 60), ("equip.oee", 0.6, 0.75)):
        targets.append({"indicator": code, "baseline": baseline, "baseline_on": pilot.started_on, "target": target,
                        "target_on": ending.isoformat(), "weight": 0.1})  # fmt: skip
        curve += [
            {"indicator": code, "planned_on": (started + 180 * step * _DAY).isoformat(),
             "value": round(baseline + (target - baseline) * step / 4, 4)}
            for step in (1, 2, 3)
        ]  # fmt: skip
    vouchers, entries = [], []
    for place in range(6):
        yuan = random.randrange(60_000, 900_000, 100)
        firm = firms[place % len(firms)]
        paid = max(_later(started, 30 + 20 * place, today), firm.registered_on)
        number = f"JZ-{place + 1:04d}"
        vouchers.append({"voucher_no": number, "category": ("software", "equipment", "service")[place % 3],
                         "amount_yuan": yuan, "paid_on": paid, "enterprise_uscc": firm.uscc,
                         "supplier": "示例软件有限公司", "subject": "平台建设与改造"})  # fmt: skip
        entries.append({"entry_no": f"ZZ-{place + 1:04d}", "booked_on": paid, "direction": "paid", "amount_yuan": yuan,
                        "category": ("software", "equipment", "service")[place % 3], "budget_line": "平台建设",
                        "voucher_no": number, "bank_matched": False, "counterparty": "示例软件有限公司",
                        "subject": "平台建设与改造"})  # fmt: skip
    plan = [{"category": kind, "by_on": f"{today.year}-12-31", "planned_wan": wan}
            for kind, wan in (("software", 320.0), ("equipment", 540.0), ("service", 120.0))]  # fmt: skip
    sessions = []
    for place, subject in enumerate(_SUBJECTS):
        attendees = random.randrange(30, 120)
        qualified = round(attendees * random.uniform(0.8, 1))
        held = date.fromisoformat(_later(started, 40 + 25 * place, today))
        sessions.append({"code": f"TR-{place + 1:03d}", "subject": subject, "held_on": held.isoformat(),
                         "ended_on": held.isoformat(), "hours": 8, "attendees": attendees, "qualified": qualified,
                         "certified": round(qualified * 0.7), "enterprises": min(len(firms), attendees)})  # fmt: skip
    partner = {"uscc": _SUPPLIER, "name": "示例工业软件有限公司", "kind": "specialist", "signed_on": pilot.started_on,
               "valid_to": ending.isoformat(), "last_service_on": (today - 20 * _DAY).isoformat()}  # fmt: skip
    case = {"code": "CASE-001", "title": "设备联网与 OEE 提升", "enterprise_uscc": firms[0].uscc,
            "submitted_on": _later(started, 150, today)}  # fmt: skip
    return {"task_target": targets, "task_curve_point": curve, "investment_plan": plan, "investment_voucher": vouchers,
            "special_account_entry": entries, "training_session": sessions, "partner": [partner],
            "benchmark_case": [case]}  # fmt: skip
