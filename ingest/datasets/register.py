"""Who takes part and with what: parks, enterprises, equipment, tags, and the chain they form."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ingest.breaches import broken, ordered
from ingest.datasets.fields import Amount, Code, Day, Moment, Name, Region, Uscc, about
from ingest.datasets.record import Record
from store.signals import COUNTERS, ENUMERATIONS

LEAST_INTERVAL_S = 0.1
"""Slots due grow with 1 / interval: one tag must not outweigh all others of a province."""
_NUMERIC = frozenset({"float", "int", "counter"})
SCALES = {"large": "大型", "medium": "中型", "small": "小型", "micro": "微型"}
DATA_TYPES = {
    "enum": "枚举状态", "counter": "单调累计量", "float": "浮点数", "int": "整数", "bool": "布尔", "text": "文本",
}  # fmt: skip
LINKS = {
    "material": "原材料供应", "part": "零部件供应", "outsourcing": "外协加工", "equipment": "设备供应",
    "service": "专业服务", "sale": "销售渠道",
}  # fmt: skip


class Park(Record):
    """Industrial-internet park (工业互联园区), physical or virtual."""

    zh = "工业互联园区"
    key = ("code",)
    code: Annotated[
        Code, about("园区代码", "Your own code of the park", "PARK-01", note="本单位自编的园区代码")
    ]
    name: Annotated[Name, about("园区名称", "Name of the park", "东莞松山湖电子信息产业园")]
    region_code: Annotated[
        Region,
        about(
            "行政区划代码",
            "Where it lies: GB/T 2260, 6 digits; towns 9 digits",
            "441900",
            note="园区所在地:GB/T 2260 六位代码,镇街为九位",
        ),
    ]
    virtual: Annotated[bool, about("是否虚拟园区", "Whether it is a virtual park", False)]
    land_area_mu: Annotated[
        Annotated[float, Field(gt=0, le=1e6)] | None,
        about(
            "工业用地面积(亩)",
            "Occupied industrial land, mu (1 mu = 666.67 m²)",
            320.5,
            note="已占用的工业用地面积,单位:亩(1 亩 = 666.67 平方米)",
        ),
    ] = None


class Enterprise(Record):
    """Enterprise that the unit has brought onto its platform."""

    zh = "入驻企业"
    key = ("uscc",)
    uscc: Annotated[
        Uscc,
        about(
            "统一社会信用代码",
            "统一社会信用代码 (GB 32100-2015)",
            "91440300MA5EXAMP0C",
            note="企业的统一社会信用代码,18 位(GB 32100-2015)",
        ),
    ]
    name: Annotated[
        Name, about("企业名称", "Name as registered", "东莞市示例电子有限公司", note="登记注册的企业名称")
    ]
    region_code: Annotated[
        Region,
        about(
            "行政区划代码",
            "City or district: GB/T 2260, 6 digits; towns 9 digits",
            "441900",
            note="企业所在市或县(市、区):GB/T 2260 六位代码,镇街为九位",
        ),
    ]
    industry: Annotated[
        Name | None,
        about(
            "所属行业", "Industry (GB/T 4754)", "C3985 电子专用材料制造", note="国民经济行业分类(GB/T 4754)"
        ),
    ] = None
    park_code: Annotated[Code | None, about("所在园区代码", "Park it resides in", "PARK-01")] = None
    registered_on: Annotated[
        Day,
        about(
            "入驻平台日期",
            "Day it joined the platform (+08:00)",
            "2026-03-01",
            note="加入平台的日期(北京时间)",
        ),
    ]
    scale: Annotated[
        Literal["large", "medium", "small", "micro"] | None, about("企业规模", "Size class", "small", SCALES)
    ] = None
    above_designated_size: Annotated[
        bool | None,
        about(
            "是否规上企业", "Whether it is above the designated size (规上)", True, note="是否为规模以上企业"
        ),
    ] = None
    digital_rd_tools: Annotated[
        bool | None,
        about(
            "是否使用数字化研发设计工具",
            "Whether it designs with digital tools (CAD, formula models)",
            True,
            note="是否以数字化工具进行研发设计(CAD,或产品配方信息化建模)",
        ),
    ] = None


class IndustryEnterprise(Record):
    """Enterprise of the pilot's industry and area on the industry map (产业图谱), whether it joined or not."""

    zh = "产业图谱企业"
    key = ("uscc",)
    uscc: Annotated[
        Uscc,
        about(
            "统一社会信用代码",
            "统一社会信用代码 (GB 32100-2015)",
            "91441900MA4UEXMQ09",
            note="企业的统一社会信用代码,18 位(GB 32100-2015)",
        ),
    ]
    name: Annotated[
        Name, about("企业名称", "Name as registered", "东莞市样本精密有限公司", note="登记注册的企业名称")
    ]
    region_code: Annotated[
        Region,
        about(
            "行政区划代码",
            "City or district: GB/T 2260, 6 digits; towns 9 digits",
            "441900",
            note="企业所在市或县(市、区):GB/T 2260 六位代码,镇街为九位",
        ),
    ]
    industry: Annotated[
        Name,
        about("所属行业", "Industry (GB/T 4754)", "C3982 电子电路制造", note="国民经济行业分类(GB/T 4754)"),
    ]
    segment: Annotated[
        Name | None,
        about("产业链环节", "Its place in the chain", "印制电路板", note="企业在产业链中所处的环节"),
    ] = None
    listed_on: Annotated[
        Day,
        about(
            "列入日期",
            "Day it was put on the map (+08:00)",
            "2026-02-01",
            note="列入产业图谱的日期(北京时间)",
        ),
    ]
    removed_on: Annotated[
        Day | None,
        about(
            "移出日期",
            "Day from which it is not on it any more (+08:00)",
            "2027-02-01",
            note="自该日起不再列入产业图谱(北京时间)",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "listed_on", "removed_on", strictly=True)
        return self


class SupplyLink(Record):
    """Link of the supply chain on the industry map (产业图谱): who supplies whom with what."""

    zh = "产业链供需关系"
    key = ("from_uscc", "to_uscc", "product")
    from_uscc: Annotated[
        Uscc,
        about(
            "供方统一社会信用代码",
            "Who supplies (GB 32100-2015)",
            "91441900MA4UEXMQ09",
            note="供应产品或服务的企业(GB 32100-2015)",
        ),
    ]
    to_uscc: Annotated[
        Uscc,
        about(
            "需方统一社会信用代码",
            "Who is supplied (GB 32100-2015)",
            "91440300MA5EXAMP0C",
            note="接受供应的企业(GB 32100-2015)",
        ),
    ]
    product: Annotated[
        Name, about("产品或服务", "What is supplied", "多层印制电路板", note="所供应的产品或服务")
    ]
    kind: Annotated[
        Literal["material", "part", "outsourcing", "equipment", "service", "sale"],
        about("关系类型", "Kind of link", "part", LINKS),
    ]
    valid_from: Annotated[
        Day, about("开始日期", "First day (+08:00)", "2026-01-01", note="供需关系的首日(北京时间)")
    ]
    valid_to: Annotated[
        Day | None,
        about(
            "终止日期",
            "Day from which it holds no more (+08:00)",
            "2027-01-01",
            note="自该日起供需关系不再有效(北京时间)",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_uscc == self.to_uscc:
            raise broken(
                "供方(from_uscc)与需方(to_uscc)是同一家企业",
                "from_uscc and to_uscc are the same enterprise",
                field="to_uscc",
            )
        ordered(self, "valid_from", "valid_to", strictly=True)
        return self


def _ucum(unit: str) -> str:
    # UCUM is a case-sensitive code of visible ASCII; what a unit means is for whoever reads it.
    if not unit.isascii() or not unit.isprintable() or " " in unit:
        raise broken(
            "单位应为 UCUM 代码,如 Cel(摄氏度)、kW.h、mm/s、%,无单位填 1",
            "a unit is a UCUM code, as Cel (degree Celsius), kW.h, mm/s, %; 1 if none",
        )
    return unit


class Equipment(Record):
    """Equipment register."""

    zh = "设备台账"
    key = ("code",)
    code: Annotated[
        Code, about("设备编号", "Your own code of the equipment", "CNC-0012", note="本单位自编的设备编号")
    ]
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "所属企业统一社会信用代码", "Enterprise it stands in", "91440300MA5EXAMP0C", note="设备所在的企业"
        ),
    ]
    name: Annotated[Name, about("设备名称", "Name", "三轴加工中心 12 号")]
    kind: Annotated[Name, about("设备类型", "Kind of equipment", "CNC")]
    rated_capacity_per_h: Annotated[
        Annotated[float, Field(gt=0)] | None,
        about("额定产能(件/小时)", "Rated production capacity, pieces per hour", 60.0),
    ] = None
    digital: Annotated[
        bool,
        about("是否数字化设备", "Whether it has a digital controller", True, note="设备是否带有数字控制装置"),
    ]
    networked: Annotated[bool, about("是否联网", "Whether it is networked", True, note="设备是否已联网")]
    commissioned_on: Annotated[
        Day | None,
        about("投用日期", "Day of commissioning (+08:00)", "2024-05-20", note="设备投入使用的日期(北京时间)"),
    ] = None


class Tag(Record):
    """Measured signal; reported again with a later valid_from it changes its reporting interval, and nothing else."""

    zh = "采集标签"
    key = ("name", "valid_from")
    withdrawable = False
    name: Annotated[
        Annotated[str, Field(pattern=r"^[^./+#,\s]{1,64}\.[^/+#,\s]{1,64}$")],
        about(
            "标签名",
            "equipment_code, a dot, signal",
            "CNC-0012.spindle_speed",
            note="设备编号、英文句点、信号三部分相连",
        ),
    ]
    equipment_code: Annotated[
        Code, about("设备编号", "Equipment it is measured at", "CNC-0012", note="信号采集自该设备")
    ]
    signal: Annotated[
        Annotated[str, Field(pattern=r"^[^/+#,\s]{1,64}$")],
        about(
            "信号",
            "state, mode, produced, good, scrap, rework, energy, or a process value",
            "spindle_speed",
            note="state 状态、mode 模式、produced 产量、good 合格品、scrap 废品、rework 返工、energy 电量,或工艺参数",
        ),
    ]
    data_type: Annotated[
        Literal["enum", "counter", "float", "int", "bool", "text"],
        about(
            "数据类型",
            "Data type; it never changes",
            "float",
            DATA_TYPES,
            note="标签的数据类型,登记后不再改变",
        ),
    ]
    unit: Annotated[
        Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_ucum)],
        about(
            "单位",
            "Unit (UCUM: Cel, mm/s, %), 1 if none; produced, good, scrap, rework: 1, energy: kW.h",
            "{rev}/min",
            note="UCUM 单位代码(如 Cel、mm/s、%),无单位填 1;produced、good、scrap、rework 填 1,energy 填 kW.h",
        ),
    ]
    interval_s: Annotated[
        Annotated[float, Field(ge=LEAST_INTERVAL_S, le=86_400)],
        about("上报间隔(秒)", "Reporting interval, seconds", 10.0),
    ]
    valid_from: Annotated[
        Moment,
        about(
            "间隔生效时间",
            "From when the interval holds (RFC 3339 with zone)",
            "2026-03-01T00:00:00+08:00",
            note="上报间隔自该时间起生效(RFC 3339,带时区)",
        ),
    ]
    range_min: Annotated[
        float | None,
        about("物理下限", "Least possible value, in unit", 0.0, note="物理上可能的最小值,单位同「单位」"),
    ] = None
    range_max: Annotated[
        float | None,
        about(
            "物理上限", "Greatest possible value, in unit", 20_000.0, note="物理上可能的最大值,单位同「单位」"
        ),
    ] = None
    frozen_after_s: Annotated[
        Annotated[float | None, Field(gt=0)],
        about(
            "冻结判定(秒)",
            "Unchanged for longer than this it is uncertain, seconds",
            3600.0,
            note="数值不变超过该时长,质量即标为存疑(uncertain),单位:秒",
        ),
    ] = None
    rate_max_per_s: Annotated[
        Annotated[float | None, Field(gt=0)],
        about(
            "最大变化率(单位/秒)",
            "Changing faster it is uncertain, unit per second",
            5000.0,
            note="数值变化快于该值,质量即标为存疑(uncertain),按「单位」每秒计",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name != f"{self.equipment_code}.{self.signal}":
            raise broken(
                f"标签名应为 设备编号.信号,即 {self.equipment_code}.{self.signal}",
                f"name must be equipment_code, a dot, signal: {self.equipment_code}.{self.signal}",
                field="name",
            )
        if (self.data_type == "enum") != (self.signal in ENUMERATIONS):
            raise broken(
                "数据类型 enum 专用于信号 state 和 mode,二者也只能用 enum",
                "data_type enum belongs to the signals state and mode, and they to it",
                field="data_type",
            )
        if self.signal in COUNTERS and self.data_type != "counter":
            raise broken(
                f"信号 {self.signal} 的数据类型应为 counter",
                f"signal {self.signal} needs data_type counter",
                field="data_type",
            )
        if self.signal in COUNTERS and self.unit not in (units := COUNTERS[self.signal]):
            raise broken(
                f"信号 {self.signal} 的单位应为 {units[0]},指标按此计算:请换算后上报",
                f"signal {self.signal} needs unit {units[0]}, in which indicators count it: convert what is sent",
                field="unit",
            )
        ordered(self, "range_min", "range_max")
        watched = self.frozen_after_s is not None or self.rate_max_per_s is not None
        if watched and self.data_type not in _NUMERIC:
            raise broken(
                "冻结判定(frozen_after_s)与最大变化率(rate_max_per_s)只用于数值类型:float、int、counter",
                "frozen_after_s and rate_max_per_s need a numeric data_type: float, int, counter",
                field="rate_max_per_s" if self.frozen_after_s is None else "frozen_after_s",
            )
        return self


class KeyProcess(Record):
    """Production process of an enterprise, and how it is controlled."""

    zh = "生产工序"
    key = ("enterprise_uscc", "code")
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "所属企业统一社会信用代码",
            "Enterprise whose process it is",
            "91440300MA5EXAMP0C",
            note="工序所属的企业",
        ),
    ]
    code: Annotated[
        Code,
        about(
            "工序代码",
            "Your own code, unique within the enterprise",
            "P-030",
            note="本单位自编的工序代码,在同一企业内唯一",
        ),
    ]
    name: Annotated[Name, about("工序名称", "Name", "CNC 精加工")]
    is_key: Annotated[bool, about("是否关键工序", "Whether it is a key process (关键工序)", True)]
    control: Annotated[
        Literal["none", "nc", "dnc", "cnc", "fmc", "plc", "dcs", "pcs"],
        about(
            "控制方式", "Control system: nc, dnc, cnc, fmc (discrete), plc, dcs, pcs (process), or none", "cnc",
            {
                "none": "无数控", "nc": "数控 NC", "dnc": "直接数控 DNC", "cnc": "计算机数控 CNC", "fmc": "柔性单元 FMC",
                "plc": "可编程控制 PLC", "dcs": "集散控制 DCS", "pcs": "过程控制 PCS",
            },
            note="工序的控制系统:离散行业 NC、DNC、CNC、FMC,流程行业 PLC、DCS、PCS,或无",
        ),
    ]  # fmt: skip
    surveyed_on: Annotated[
        Day,
        about("调查日期", "Day it was surveyed (+08:00)", "2026-04-15", note="调查该工序的日期(北京时间)"),
    ]


class ProductRunTime(Record):
    """Planned run time per item PRI (ISO 22400-2) of a product on an equipment."""

    zh = "产品计划节拍(PRI)"
    key = ("equipment_code", "product", "valid_from")
    equipment_code: Annotated[Code, about("设备编号", "Work unit", "CNC-0012", note="加工该产品的工作单元")]
    product: Annotated[Name, about("产品", "Product", "手机中框 A7")]
    valid_from: Annotated[
        Day,
        about(
            "生效日期",
            "First day it holds, until the next (+08:00)",
            "2026-03-01",
            note="该节拍的首日,至下一条生效时止(北京时间)",
        ),
    ]
    planned_run_time_per_item_s: Annotated[
        Annotated[float, Field(gt=0, le=1e7)],
        about(
            "单件计划运行时间(秒)",
            "Planned run time per item, seconds",
            42.5,
            note="单件计划运行时间 PRI,单位:秒",
        ),
    ]
    planned_scrap_share: Annotated[
        Annotated[Amount, Field(le=1)] | None,
        about(
            "计划报废率",
            "Planned share of scrap, a fraction of 1",
            0.01,
            note="计划报废数量所占比率,以小数表示(0.01 = 1 %)",
        ),
    ] = None
