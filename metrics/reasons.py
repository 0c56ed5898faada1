"""Why an indicator has no value: a closed list. Null is never zero, and never without one of these."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """A text in both languages."""

    zh: str
    en: str


REASONS: dict[str, Text] = {
    # In order of how much they tell: of several, the last in this list is given for a group.
    "no_data": Text("该时段没有收到数据", "No data were received for this period"),
    "no_signal": Text("设备未登记计算所需的标签", "The equipment has no tag for a signal that is needed"),
    "no_calendar": Text("未报送班次日历", "No shift calendar was reported"),
    "no_order": Text(
        "没有生产工单,计划单件时间(PRI)未知",
        "No production order, so the planned run time per item is unknown",
    ),
    "gap": Text("数据中断,计数无法归到该时段", "Readings are missing, so the counts cannot be attributed"),
    "mostly_unknown": Text("状态已知的时间不足", "The state is known for too little of the time"),
    "no_planned_time": Text("该时段没有计划生产时间", "No time was planned for production"),
    "no_production_time": Text("该时段没有实际生产时间", "There was no actual production time"),
    "nothing_produced": Text("该时段没有产出", "Nothing was produced"),
    "nothing_due": Text("该时段没有应报或到期的内容", "Nothing was due"),
    "no_live_data": Text("该时段没有实时数据", "No live readings arrived"),
    "none_connected": Text("没有已连接的设备", "No equipment is connected"),
}
"""Code → text for people."""

CODES = ("", *REASONS)
"""Index → code, as formulas give them in arrays; 0 is none."""
INDEX = {code: index for index, code in enumerate(CODES)}
