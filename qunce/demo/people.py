"""Whom the demo lets in: one account a role, and a lead unit of nobody's to try the interface with."""

from __future__ import annotations

from typing import Any

from qunce.demo.ground import Ground
from qunce.process import write_private
from qunce.settings import Dashboard
from store import passwords, people
from store.database import connect
from store.people import Wanted
from store.registry import NewUnit

SANDBOX = NewUnit("GD-SANDBOX", "沙箱牵头单位", "Sandbox lead unit", 1, "91440000900000014J")
"""Without pilot and simulated sources: what is sent with its key disturbs nobody."""


def wanted(province: dict[str, Any]) -> list[Wanted]:
    """The accounts, with scopes from the simulated province: the first pilot's city, unit and an enterprise."""
    pilot = province["pilots"][0]
    cities = {one["region_code"] for one in province["pilots"]}
    firm = next(e for e in province["enterprises"] if e["unit"] == pilot["unit"]["code"])
    county = next((e["region_code"] for e in province["enterprises"] if e["region_code"] not in cities), None)
    return [
        Wanted("province", "省工业和信息化厅", "province"),
        Wanted("city", "市工业和信息化局", "city", region=pilot["region_code"]),
        Wanted("county", "县区工业和信息化局", "county", region=county or pilot["region_code"]),
        Wanted("lead-unit", pilot["unit"]["name_zh"], "lead_unit", unit=pilot["unit"]["code"]),
        Wanted("enterprise", firm["name"], "enterprise", uscc=firm["uscc"]),
        Wanted("think-tank", "第三方智库", "think_tank"),
        *([Wanted("bank", "合作银行", "bank", uscc=province["bank"])] if "bank" in province else []),
        Wanted("sandbox", SANDBOX.name_zh, "lead_unit", unit=SANDBOX.code),
    ]


def welcome(dsn: str, settings: Dashboard, province: dict[str, Any], ground: Ground) -> None:
    """Make the accounts that are missing, and list all in `login.txt`. `dsn`: as the database's owner."""
    password = settings.password.get_secret_value() if settings.password else ""
    known: dict[str, str] = ground.recall().get("people", {})
    lines = [f"user: {settings.user}", f"password: {password}", "", "# 各角色账号 | an account for each role"]
    with connect(dsn, application="provision") as conn:
        if password:
            people.ensure_operator(conn, settings.user, password)
        there = {person.name for person in people.listed(conn)}
        for one in wanted(province):
            secret = known.setdefault(one.name, passwords.generated())
            if one.name not in there:  # whoever changed a password since knows it
                people.add(conn, one, secret)
            lines.append(f"{one.role:<11} user: {one.name:<11} password: {secret}")
        ground.remember(people=known)
    write_private(ground.login, "\n".join(lines) + "\n")
