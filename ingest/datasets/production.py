"""What is planned and what is not measured: calendars, orders, inspections, failures, energy bought."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ingest.breaches import ordered
from ingest.datasets.fields import Amount, Code, Count, Moment, Name, Number, Period, Uscc, about
from ingest.datasets.record import Record

KINDS = {"shift": "班次", "break": "班间休息", "planned_downtime": "计划停机"}
CARRIERS = {
    "electricity": "电力(千瓦时)", "natural_gas": "天然气(立方米)", "steam": "蒸汽(吨)", "water": "水(吨)",
    "coal": "煤炭(吨)", "diesel": "柴油(吨)", "gasoline": "汽油(吨)", "lpg": "液化石油气(吨)",
    "heat": "热力(百万千焦)", "other": "其他能源(吨标准煤)",
}  # fmt: skip


class ShiftCalendar(Record):
    """Planned time of a work unit."""

    zh = "班次日历"
    key = ("equipment_code", "start", "kind")
    dated = ("start", "end")
    equipment_code: Annotated[Code, about("设备编号", "Work unit", "CNC-0012", note="排班的工作单元")]
    start: Annotated[
        Moment,
        about(
            "开始时间", "From (RFC 3339 with zone)", "2026-11-23T08:00:00+08:00", note="起点(RFC 3339,带时区)"
        ),
    ]
    end: Annotated[
        Moment,
        about(
            "结束时间",
            "To, exclusive (RFC 3339 with zone)",
            "2026-11-23T20:00:00+08:00",
            note="终点,不含该时刻(RFC 3339,带时区)",
        ),
    ]
    kind: Annotated[
        Literal["shift", "break", "planned_downtime"],
        about(
            "类型",
            "shift (POT); break and planned_downtime reduce it",
            "shift",
            KINDS,
            note="班次计入计划作业时间 POT,班间休息与计划停机从中扣除",
        ),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "start", "end", strictly=True)
        return self


class ProductionOrder(Record):
    """Production order with its planned run time per item (PRI, ISO 22400-2)."""

    zh = "生产订单"
    key = ("order_id",)
    dated = ("start", "end")
    order_id: Annotated[
        Annotated[str, Field(min_length=1, max_length=100)],
        about("订单号", "Your order number", "MO-20261123-017", note="本单位的订单号"),
    ]
    equipment_code: Annotated[Code, about("设备编号", "Work unit", "CNC-0012", note="执行该订单的工作单元")]
    product: Annotated[Name, about("产品", "Product", "手机中框 A7")]
    planned_run_time_per_item_s: Annotated[
        Annotated[float, Field(gt=0)],
        about(
            "单件计划运行时间(秒)",
            "Planned run time per item PRI, seconds",
            42.5,
            note="单件计划运行时间 PRI,单位:秒",
        ),
    ]
    planned_quantity: Annotated[
        Annotated[float, Field(ge=0)],
        about("计划数量(件)", "Pieces ordered", 1200.0, note="订单要求的数量,单位:件"),
    ]
    start: Annotated[
        Moment,
        about(
            "开工时间",
            "Start (RFC 3339 with zone)",
            "2026-11-23T08:00:00+08:00",
            note="开工的时间(RFC 3339,带时区)",
        ),
    ]
    end: Annotated[
        Moment | None,
        about(
            "完工时间",
            "End, exclusive; none while it runs",
            "2026-11-23T22:30:00+08:00",
            note="完工的时间,不含该时刻;未完工时留空",
        ),
    ] = None
    promised_at: Annotated[
        Moment | None,
        about("承诺交期", "When delivery was promised", "2026-11-25T18:00:00+08:00", note="所承诺的交付时间"),
    ] = None
    delivered_at: Annotated[
        Moment | None,
        about(
            "实际交付时间",
            "When it was delivered; none until then",
            "2026-11-25T10:00:00+08:00",
            note="实际交付的时间;未交付时留空",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "start", "end", strictly=True)
        ordered(self, "start", "delivered_at", strictly=True)
        return self


class InspectionLot(Record):
    """Inspected parts of a product, and how many were good at first (first pass yield, ISO 22400-2)."""

    zh = "检验批次"
    key = ("lot_no",)
    dated = ("inspected_at",)
    reasoned = True
    lot_no: Annotated[Number, about("检验批号", "Number of the lot", "QC-20261123-04")]
    equipment_code: Annotated[
        Code, about("设备编号", "Work unit that made the parts", "CNC-0012", note="生产该批零件的工作单元")
    ]
    product: Annotated[Name, about("产品", "Product", "手机中框 A7")]
    inspected_at: Annotated[
        Moment,
        about(
            "检验时间",
            "When inspected (RFC 3339 with zone)",
            "2026-11-23T21:00:00+08:00",
            note="检验的时间(RFC 3339,带时区)",
        ),
    ]
    inspected: Annotated[
        Annotated[Count, Field(gt=0)],
        about("检验数量(件)", "Inspected parts IP, pieces", 400, note="受检零件数 IP,单位:件"),
    ]
    first_pass_good: Annotated[
        Count,
        about(
            "一次合格数量(件)",
            "Good parts without rework GP, pieces",
            392,
            note="未经返工的合格零件数 GP,单位:件",
        ),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "first_pass_good", "inspected")
        return self


class EquipmentFailure(Record):
    """Failure of an equipment and its restoration (for MTBF and MTTR)."""

    zh = "设备故障"
    key = ("equipment_code", "failed_at")
    dated = ("failed_at", "restored_at")
    equipment_code: Annotated[Code, about("设备编号", "Equipment", "CNC-0012", note="发生故障的设备")]
    failed_at: Annotated[
        Moment,
        about(
            "故障时间",
            "When it failed (RFC 3339 with zone)",
            "2026-11-23T13:05:00+08:00",
            note="故障发生的时间(RFC 3339,带时区)",
        ),
    ]
    restored_at: Annotated[
        Moment | None,
        about(
            "恢复时间",
            "When it was restored; none until then",
            "2026-11-23T14:20:00+08:00",
            note="恢复的时间;未恢复时留空",
        ),
    ] = None
    fault: Annotated[
        Name | None, about("故障代码", "Code or name of the fault", "E-217 主轴过热", note="故障的代码或名称")
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "failed_at", "restored_at", strictly=True)
        return self


class EnergyConsumption(Record):
    """Energy that an enterprise consumed in a period, by carrier, where it is not metered by the platform."""

    zh = "能源消费"
    key = ("enterprise_uscc", "period", "carrier")
    dated = ("period",)
    reasoned = True
    enterprise_uscc: Annotated[
        Uscc, about("企业统一社会信用代码", "Enterprise", "91440300MA5EXAMP0C", note="消费能源的企业")
    ]
    period: Annotated[
        Period,
        about(
            "统计期",
            "Year 2026, quarter 2026-Q1 or month 2026-03 (+08:00)",
            "2026-10",
            note="年 2026、季度 2026-Q1 或月 2026-03(北京时间)",
        ),
    ]
    carrier: Annotated[
        Literal[
            "electricity", "natural_gas", "steam", "water", "coal", "diesel", "gasoline", "lpg", "heat", "other"
        ],
        about("能源品种", "Carrier; its unit is that of quantity", "natural_gas", CARRIERS, note="能源的品种,消费量的单位随之而定"),
    ]  # fmt: skip
    quantity: Annotated[
        Amount,
        about(
            "消费量",
            "Consumed: kWh, m³ of gas, t, GJ of heat, or tce of other energy",
            1250.0,
            note="消费的数量:电力为千瓦时,天然气为立方米,热力为百万千焦,其他能源为吨标准煤,其余品种为吨",
        ),
    ]
    recovered: Annotated[
        Amount | None,
        about(
            "其中回收及转换产出",
            "Of it recovered or transformed, in the same unit",
            0.0,
            note="消费量中回收利用或加工转换产出的部分,单位同消费量",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "recovered", "quantity")
        return self
