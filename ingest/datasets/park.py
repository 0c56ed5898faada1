"""Industrial-internet parks: space, residents, idle assets, shared capacity, maturity."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ingest.breaches import broken, ordered
from ingest.datasets.fields import Amount, Code, Day, Hours, Name, Uscc, about
from ingest.datasets.record import Record

RESIDENCES = {"lease": "实体租赁或自有", "virtual": "虚拟园区协议"}
ASSETS = {"land": "土地(亩)", "factory": "厂房(平方米)", "capacity": "产能(小时)", "equipment": "设备(台)"}
MATURITY = {"1": "规划级", "2": "规范级", "3": "优化级", "4": "引领级"}


class ParkSpace(Record):
    """Factory floor area of a park on a day."""

    zh = "园区空间"
    key = ("park_code", "as_of")
    dated = ("as_of",)
    reasoned = True
    park_code: Annotated[Code, about("园区代码", "Park", "PARK-01")]
    as_of: Annotated[Day, about("统计日期", "Day (+08:00)", "2026-10-31", note="面积所截至的日期(北京时间)")]
    total_m2: Annotated[
        Annotated[Amount, Field(gt=0)], about("厂房总面积(平方米)", "Factory floor area, m²", 120_000.0)
    ]
    leased_m2: Annotated[
        Amount,
        about(
            "已出租面积(平方米)", "Of it leased, m²", 98_500.0, note="厂房总面积中已出租的部分,单位:平方米"
        ),
    ]
    in_production_m2: Annotated[
        Amount,
        about(
            "已投产面积(平方米)",
            "Of it in production, m²",
            91_200.0,
            note="已出租面积中已投产的部分,单位:平方米",
        ),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "leased_m2", "total_m2")
        ordered(self, "in_production_m2", "leased_m2")
        return self


class ParkResidence(Record):
    """Residence of an enterprise in a park, physical or by agreement with a virtual park."""

    zh = "入园企业"
    key = ("park_code", "enterprise_uscc", "valid_from")
    park_code: Annotated[Code, about("园区代码", "Park", "PARK-01")]
    enterprise_uscc: Annotated[
        Uscc,
        about("企业统一社会信用代码", "Enterprise that resides", "91440300MA5EXAMP0C", note="入驻园区的企业"),
    ]
    valid_from: Annotated[
        Day, about("开始日期", "First day (+08:00)", "2026-03-01", note="入园的首日(北京时间)")
    ]
    valid_to: Annotated[
        Day | None,
        about(
            "终止日期",
            "Day from which it holds no more (+08:00)",
            "2029-03-01",
            note="自该日起不再入园(北京时间)",
        ),
    ] = None
    kind: Annotated[
        Literal["lease", "virtual"],
        about(
            "入园方式",
            "lease (or ownership), or virtual-park agreement",
            "lease",
            RESIDENCES,
            note="实体租赁(或自有),或虚拟园区协议",
        ),
    ]
    floor_area_m2: Annotated[
        Amount | None,
        about("使用面积(平方米)", "Floor area it uses, m²", 2600.0, note="企业所使用的面积,单位:平方米"),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "valid_from", "valid_to", strictly=True)
        return self


class IdleAsset(Record):
    """Idle land, factory, capacity or equipment on a park's list, and when it was brought back to use."""

    zh = "闲置要素"
    key = ("park_code", "code")
    park_code: Annotated[Code, about("园区代码", "Park", "PARK-01")]
    code: Annotated[
        Code,
        about(
            "要素编号",
            "Your own number, unique within the park",
            "IDLE-017",
            note="本单位自编的编号,在同一园区内唯一",
        ),
    ]
    kind: Annotated[
        Literal["land", "factory", "capacity", "equipment"],
        about(
            "要素类型",
            "land, factory, capacity or equipment; says the unit of quantity",
            "factory",
            ASSETS,
            note="土地、厂房、产能或设备,数量的单位随之而定",
        ),
    ]
    quantity: Annotated[
        Annotated[Amount, Field(gt=0)],
        about(
            "数量",
            "Quantity: land mu, factory m², capacity hours, equipment pieces",
            3200.0,
            note="闲置的数量:土地为亩,厂房为平方米,产能为小时,设备为台",
        ),
    ]
    listed_on: Annotated[
        Day,
        about(
            "列入日期",
            "Day it was put on the list (+08:00)",
            "2026-02-10",
            note="列入闲置清单的日期(北京时间)",
        ),
    ]
    reused_quantity: Annotated[
        Amount | None,
        about(
            "已盘活数量",
            "Of it brought back to use, in the same unit",
            1800.0,
            note="其中已盘活的部分,单位同数量",
        ),
    ] = None
    reused_on: Annotated[
        Day | None,
        about(
            "盘活日期",
            "Day it was brought back to use (+08:00)",
            "2026-08-01",
            note="重新投入使用的日期(北京时间)",
        ),
    ] = None
    reuse: Annotated[
        Name | None, about("盘活方式", "How it is used now", "共享打样车间", note="盘活后现在的使用方式")
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.reused_on is None) != (self.reused_quantity is None):
            raise broken(
                "盘活日期(reused_on)与已盘活数量(reused_quantity)须同时填写",
                "reused_on and reused_quantity belong together",
                field="reused_on" if self.reused_on is None else "reused_quantity",
            )
        ordered(self, "listed_on", "reused_on")
        ordered(self, "reused_quantity", "quantity")
        return self


class SharedCapacity(Record):
    """Hours of an equipment offered to others on a day, and used by them."""

    zh = "共享产能"
    key = ("equipment_code", "day")
    dated = ("day",)
    reasoned = True
    equipment_code: Annotated[
        Code, about("设备编号", "Equipment on the sharing list", "CNC-0012", note="共享清单上的设备")
    ]
    day: Annotated[Day, about("日期", "Day (+08:00)", "2026-11-23", note="共享的日期(北京时间)")]
    offered_h: Annotated[
        Hours, about("共享时长(小时)", "Offered to others, hours", 8.0, note="当日供他人使用的时长,单位:小时")
    ]
    used_h: Annotated[
        Hours,
        about(
            "被使用时长(小时)",
            "Used by others than the owner, hours",
            5.5,
            note="当日由设备所有者以外的单位使用的时长,单位:小时",
        ),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "used_h", "offered_h")
        return self


class ParkMaturity(Record):
    """Maturity of a park as a third party assessed it (工业互联网园区评价模型 2.0)."""

    zh = "园区成熟度"
    key = ("park_code", "assessed_on")
    reasoned = True
    park_code: Annotated[Code, about("园区代码", "Park", "PARK-01")]
    assessed_on: Annotated[
        Day, about("评价日期", "Day of the assessment (+08:00)", "2026-10-20", note="评价的日期(北京时间)")
    ]
    level: Annotated[
        Literal["1", "2", "3", "4"],
        about(
            "成熟度等级",
            "Level: 1 规划, 2 规范, 3 优化, 4 引领",
            "2",
            MATURITY,
            note="1 规划级、2 规范级、3 优化级、4 引领级",
        ),
    ]
    assessor: Annotated[
        Name, about("评价机构", "Third party that assessed it", "示例评价中心", note="实施评价的第三方机构")
    ]
    certificate_no: Annotated[Name | None, about("证书编号", "Number of the certificate", "AII-2026-118")] = (
        None
    )
