"""The pilot as a project: task book, milestones, money, training, partners, cases, own indicator values."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ingest.breaches import broken, ordered
from ingest.datasets.fields import (
    Code,
    Count,
    Day,
    IndicatorCode,
    Moment,
    Name,
    Number,
    Share,
    Uscc,
    Wan,
    Yuan,
    about,
)
from ingest.datasets.record import Record

COSTS = {"equipment": "设备购置", "software": "软件购置", "research": "研发投入", "service": "服务采购"}
FUNDS = {
    "equipment": "设备费", "software": "软件费", "research": "研发费", "service": "服务费", "training": "培训费",
    "labour": "人员费", "other": "其他",
}  # fmt: skip
DIRECTIONS = {"received": "收入(到账)", "paid": "支出"}
PARTNERS = {
    "base": "共性技术底座", "specialist": "专业技术服务商", "chain": "产业链企业", "finance": "金融机构",
    "institute": "高校院所",
}  # fmt: skip


class TaskTarget(Record):
    """Target of the task book (任务书) for an indicator."""

    zh = "任务书指标"
    key = ("indicator",)
    reasoned = True
    indicator: Annotated[
        IndicatorCode,
        about(
            "指标代码",
            "Code of the catalogue (docs/indicators.md)",
            "plat.devices_connected",
            note="指标目录(docs/indicators.md)中的代码",
        ),
    ]
    baseline: Annotated[
        float,
        about(
            "基线值",
            "Value at the start, in the catalogue's unit; ratios as fractions of 1",
            120.0,
            note="试点开始时的值,单位同指标目录;比率以小数表示",
        ),
    ]
    baseline_on: Annotated[
        Day,
        about("基线日期", "Day of the baseline (+08:00)", "2026-03-01", note="基线值所属的日期(北京时间)"),
    ]
    target: Annotated[
        float,
        about(
            "目标值",
            "Value to be reached, in the catalogue's unit; ratios as fractions of 1",
            1200.0,
            note="应达到的值,单位同指标目录;比率以小数表示",
        ),
    ]
    target_on: Annotated[
        Day,
        about(
            "目标日期",
            "Day by which it is to be reached (+08:00)",
            "2027-03-01",
            note="应达到目标值的日期(北京时间)",
        ),
    ]
    weight: Annotated[
        Share | None,
        about(
            "权重",
            "Its weight within the task book, a fraction of 1",
            0.1,
            note="该指标在任务书中的权重,以小数表示(0.1 = 10 %)",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "baseline_on", "target_on", strictly=True)
        if self.baseline == self.target:
            raise broken(
                "目标值(target)与基线值(baseline)相同,没有要达到的变化",
                "target equals baseline: nothing is to be reached",
                field="target",
            )
        return self


class TaskCurvePoint(Record):
    """Point of the planned curve between baseline and target of a task-book indicator."""

    zh = "任务书计划进度"
    key = ("indicator", "planned_on")
    reasoned = True
    indicator: Annotated[
        IndicatorCode,
        about(
            "指标代码",
            "A task_target reported before",
            "plat.devices_connected",
            note="此前已报送的任务书指标(task_target)",
        ),
    ]
    planned_on: Annotated[
        Day, about("计划日期", "Day (+08:00)", "2026-09-01", note="计划值所属的日期(北京时间)")
    ]
    value: Annotated[
        float,
        about(
            "计划值",
            "Value planned for that day, in the catalogue's unit; ratios as fractions of 1",
            600.0,
            note="计划在该日达到的值,单位同指标目录;比率以小数表示",
        ),
    ]


class Milestone(Record):
    """Milestone of the task book (任务书)."""

    zh = "里程碑"
    key = ("code",)
    code: Annotated[Code, about("里程碑代码", "Code in the task book", "M-03", note="任务书中的代码")]
    name: Annotated[Name, about("里程碑名称", "Name", "行业平台上线运行")]
    planned_on: Annotated[
        Day, about("计划日期", "Planned day (+08:00)", "2026-09-30", note="计划完成的日期(北京时间)")
    ]
    accepted_on: Annotated[
        Day | None,
        about(
            "验收日期",
            "Day of acceptance (+08:00); none = open",
            "2026-09-28",
            note="通过验收的日期(北京时间);未验收时留空",
        ),
    ] = None


class InvestmentPlan(Record):
    """Planned investment by kind of cost, cumulative to a day; the last day's sum is the planned total."""

    zh = "投资计划"
    key = ("category", "by_on")
    reasoned = True
    category: Annotated[
        Literal["equipment", "software", "research", "service"],
        about("费用类别", "Kind of cost", "software", COSTS),
    ]
    by_on: Annotated[
        Day,
        about("截至日期", "Until the end of this day (+08:00)", "2026-12-31", note="累计至该日末(北京时间)"),
    ]
    planned_wan: Annotated[
        Wan, about("计划累计投资(万元)", "Cumulative planned investment, 10,000 yuan", 850.0)
    ]


class InvestmentVoucher(Record):
    """Voucher of an investment of the pilot."""

    zh = "投资凭证"
    key = ("voucher_no",)
    dated = ("paid_on",)
    reasoned = True
    voucher_no: Annotated[Number, about("凭证号", "Number of the voucher", "JZ-202609-0137")]
    category: Annotated[
        Literal["equipment", "software", "research", "service"],
        about("费用类别", "Kind of cost", "software", COSTS),
    ]
    amount_yuan: Annotated[
        Yuan,
        about(
            "金额(元)",
            "Amount without tax that can be deducted, yuan",
            286_000.0,
            note="不含可抵扣税额的金额,单位:元",
        ),
    ]
    paid_on: Annotated[
        Day, about("支付日期", "Day of payment (+08:00)", "2026-09-18", note="支付的日期(北京时间)")
    ]
    enterprise_uscc: Annotated[
        Uscc | None,
        about(
            "投资企业统一社会信用代码",
            "Enterprise that invested; none = the lead unit",
            "91440300MA5EXAMP0C",
            note="投资的企业;牵头单位投资的留空",
        ),
    ] = None
    supplier: Annotated[Name, about("供应商", "Who was paid", "示例软件有限公司", note="收款的单位")]
    invoice_no: Annotated[
        Number | None, about("发票号码", "Number of the invoice", "24442000000012345678")
    ] = None
    subject: Annotated[Name, about("用途", "What was bought", "智能排产系统二期", note="所购买的内容")]


class SpecialAccountEntry(Record):
    """Entry of the special account (专账) of fiscal funds."""

    zh = "专账明细"
    key = ("entry_no",)
    dated = ("booked_on",)
    reasoned = True
    entry_no: Annotated[Number, about("分录号", "Number of the entry", "ZZ-2026-0042")]
    booked_on: Annotated[
        Day, about("记账日期", "Day it was booked (+08:00)", "2026-09-20", note="记账的日期(北京时间)")
    ]
    direction: Annotated[
        Literal["received", "paid"],
        about(
            "收支方向",
            "received from the budget, or paid out",
            "paid",
            DIRECTIONS,
            note="收入为财政资金到账,支出为付出的款项",
        ),
    ]
    amount_yuan: Annotated[Yuan, about("金额(元)", "Amount, yuan", 150_000.0)]
    category: Annotated[
        Literal["equipment", "software", "research", "service", "training", "labour", "other"] | None,
        about(
            "费用类别",
            "Kind of cost; of what is paid",
            "software",
            FUNDS,
            note="支出的费用类别;仅在支出时填写",
        ),
    ] = None
    budget_line: Annotated[
        Name,
        about("预算科目", "Budget line of the approved budget", "平台软件开发", note="经批准的预算中的科目"),
    ]
    voucher_no: Annotated[
        Number | None,
        about("凭证号", "Voucher; none = there is none", "JZ-202609-0137", note="对应的凭证;没有凭证时留空"),
    ] = None
    bank_reference: Annotated[
        Number | None,
        about(
            "银行流水号",
            "Reference in the bank statement; none = not there",
            "20260920113055021",
            note="银行对账单中的流水号;对账单中没有时留空",
        ),
    ] = None
    bank_matched: Annotated[
        bool,
        about(
            "是否与银行对账相符",
            "Whether amount and day agree with the bank statement",
            True,
            note="金额和日期是否与银行对账单一致",
        ),
    ]
    counterparty: Annotated[
        Name, about("对方单位", "Who paid or was paid", "示例软件有限公司", note="付款或收款的单位")
    ]
    subject: Annotated[Name, about("摘要", "What it is for", "智能排产系统二期首付款", note="款项的用途")]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.direction == "paid") != (self.category is not None):
            raise broken(
                "支出类别(category)仅在支出(direction = paid)时填写,且此时必填",
                "category belongs to what is paid, and it to it",
                field="category",
            )
        if self.bank_matched and self.bank_reference is None:
            raise broken(
                "已与银行流水核对(bank_matched)时,须填银行流水号(bank_reference)",
                "bank_matched needs the bank_reference it was matched with",
                field="bank_reference",
            )
        return self


class TrainingSession(Record):
    """Training session and how many people took part."""

    zh = "人才培训"
    key = ("code",)
    dated = ("ended_on",)
    reasoned = True
    code: Annotated[
        Code, about("培训编号", "Your own code of the session", "TR-2026-018", note="本单位自编的培训编号")
    ]
    subject: Annotated[Name, about("培训主题", "Subject", "设备联网与数据采集实务")]
    held_on: Annotated[
        Day, about("开始日期", "First day (+08:00)", "2026-08-12", note="培训的首日(北京时间)")
    ]
    ended_on: Annotated[
        Day, about("结束日期", "Last day (+08:00)", "2026-08-13", note="培训的最后一日(北京时间)")
    ]
    hours: Annotated[Annotated[float, Field(gt=0, le=1000)], about("课时(小时)", "Hours of training", 12.0)]
    attendees: Annotated[Count, about("参训人数(人)", "People who took part", 64)]
    qualified: Annotated[
        Count,
        about(
            "达到规定课时人数(人)", "Of them with the required hours", 60, note="参训人员中达到规定课时的人数"
        ),
    ]
    certified: Annotated[
        Count,
        about(
            "新增持证人数(人)",
            "Of them certified for the first time",
            48,
            note="达到规定课时的人员中首次取得证书的人数",
        ),
    ]
    enterprises: Annotated[
        Count, about("参训企业数(家)", "Enterprises they came from", 22, note="参训人员所属的企业数")
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "held_on", "ended_on")
        ordered(self, "qualified", "attendees")
        ordered(self, "certified", "qualified")
        ordered(self, "enterprises", "attendees")
        return self


class Partner(Record):
    """Ecosystem partner with a signed agreement."""

    zh = "生态合作伙伴"
    key = ("uscc", "signed_on")
    uscc: Annotated[Uscc, about("合作方统一社会信用代码", "Partner", "91441900MA4UEXMQ09")]
    name: Annotated[
        Name, about("合作方名称", "Name as registered", "示例工业软件有限公司", note="登记注册的名称")
    ]
    kind: Annotated[
        Literal["base", "specialist", "chain", "finance", "institute"],
        about("合作类型", "Kind of partner", "specialist", PARTNERS),
    ]
    signed_on: Annotated[
        Day, about("签约日期", "Day of signature (+08:00)", "2026-04-01", note="签约的日期(北京时间)")
    ]
    valid_to: Annotated[
        Day,
        about(
            "协议到期日期",
            "Day from which it holds no more (+08:00)",
            "2028-04-01",
            note="自该日起协议不再有效(北京时间)",
        ),
    ]
    last_service_on: Annotated[
        Day | None,
        about(
            "最近服务日期",
            "Day of the last service it delivered (+08:00)",
            "2026-10-22",
            note="最近一次提供服务的日期(北京时间)",
        ),
    ] = None
    agreement_no: Annotated[Number | None, about("协议编号", "Number of the agreement", "XY-2026-031")] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "signed_on", "valid_to", strictly=True)
        ordered(self, "signed_on", "last_service_on")
        return self


class BenchmarkCase(Record):
    """Benchmark case of a transformation; it counts once the think tank accepted it."""

    zh = "转型标杆案例"
    key = ("code",)
    code: Annotated[
        Code, about("案例编号", "Your own code of the case", "CASE-007", note="本单位自编的案例编号")
    ]
    title: Annotated[Name, about("案例名称", "Title", "精密加工车间设备联网与 OEE 提升")]
    enterprise_uscc: Annotated[
        Uscc | None,
        about(
            "企业统一社会信用代码",
            "Enterprise it is about, if one",
            "91440300MA5EXAMP0C",
            note="案例所属的企业;不限于一家企业的留空",
        ),
    ] = None
    submitted_on: Annotated[
        Day, about("提交日期", "Day it was submitted (+08:00)", "2026-07-01", note="提交的日期(北京时间)")
    ]
    accepted_on: Annotated[
        Day | None,
        about(
            "认定日期",
            "Day the think tank accepted it (+08:00); none = not yet",
            "2026-08-20",
            note="智库认定的日期(北京时间);未认定时留空",
        ),
    ] = None
    accepted_by: Annotated[
        Name | None,
        about("认定智库", "Think tank that accepted it", "第三方专业智库机构", note="认定该案例的智库"),
    ] = None
    document: Annotated[
        Name | None, about("材料名称或链接", "Name or address of the document", "case-007.pdf")
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.accepted_on is None) != (self.accepted_by is None):
            raise broken(
                "验收日期(accepted_on)与验收单位(accepted_by)须同时填写",
                "accepted_on and accepted_by belong together",
                field="accepted_on" if self.accepted_on is None else "accepted_by",
            )
        ordered(self, "submitted_on", "accepted_on")
        return self


class ReportedIndicator(Record):
    """Indicator value as the unit states it; compared with ours, never mixed with it."""

    zh = "自报指标值"
    key = ("code", "period_start", "period_end")
    dated = ("period_start", "period_end")
    reasoned = True
    code: Annotated[
        IndicatorCode,
        about(
            "指标代码",
            "Code of the catalogue (docs/indicators.md)",
            "equip.oee",
            note="指标目录(docs/indicators.md)中的代码",
        ),
    ]
    period_start: Annotated[
        Moment,
        about(
            "统计期开始",
            "From; a day is the day of +08:00",
            "2026-11-23T00:00:00+08:00",
            note="起点;按日统计的,为北京时间的一日",
        ),
    ]
    period_end: Annotated[
        Moment, about("统计期结束", "To, exclusive", "2026-11-24T00:00:00+08:00", note="终点,不含该时刻")
    ]
    value: Annotated[
        float,
        about(
            "指标值",
            "Value in the catalogue's unit; ratios as fractions of 1",
            0.682,
            note="本单位所报的值,单位同指标目录;比率以小数表示",
        ),
    ]
    numerator: Annotated[
        float | None,
        about("分子", "Numerator in the catalogue's unit", 58_924.8, note="分子的值,单位同指标目录"),
    ] = None
    denominator: Annotated[
        float | None,
        about("分母", "Denominator in the catalogue's unit", 86_400.0, note="分母的值,单位同指标目录"),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "period_start", "period_end", strictly=True)
        return self
