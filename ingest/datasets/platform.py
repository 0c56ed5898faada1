"""What the unit's industry platform offers and how much it is used."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ingest.breaches import broken, ordered
from ingest.datasets.fields import Amount, Code, Count, Day, Moment, Name, Number, Uscc, Wan, about
from ingest.datasets.record import Record

APP_KINDS = {"app": "工业APP", "mechanism_model": "机理模型", "microservice": "微服务组件"}
SPANS = {"hour": "小时", "day": "日"}


class App(Record):
    """Published industrial app, mechanism model or microservice of the platform."""

    zh = "工业APP与机理模型"
    key = ("code",)
    code: Annotated[
        Code,
        about(
            "代码", "Your own code; versions are not counted", "APP-APS", note="本单位自编的代码,各版本不另计"
        ),
    ]
    name: Annotated[Name, about("名称", "Name", "智能排产")]
    kind: Annotated[
        Literal["app", "mechanism_model", "microservice"],
        about("类型", "app, mechanism_model or microservice", "app", APP_KINDS),
    ]
    subject: Annotated[Name, about("业务领域", "What it is for", "计划排程", note="应用或模型的用途")]
    industry: Annotated[Name | None, about("适用行业", "Industry it is for (GB/T 4754)", "C39 计算机、通信和其他电子设备制造业", note="适用的国民经济行业(GB/T 4754)")] = None  # fmt: skip
    owner: Annotated[
        Name, about("开发方", "Who developed it", "示例工业互联网有限公司", note="开发该应用或模型的单位")
    ]
    published_on: Annotated[
        Day, about("发布日期", "Day of publication (+08:00)", "2026-03-15", note="发布的日期(北京时间)")
    ]
    retired_on: Annotated[
        Day | None,
        about(
            "下架日期",
            "Day from which it is not offered any more (+08:00)",
            "2028-03-15",
            note="自该日起不再提供(北京时间)",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "published_on", "retired_on", strictly=True)
        return self


class Subscription(Record):
    """Subscription of an enterprise to an app or a service of the platform."""

    zh = "平台订阅"
    key = ("contract_no",)
    reasoned = True
    contract_no: Annotated[Number, about("合同编号", "Number of the contract", "HT-2026-0412")]
    enterprise_uscc: Annotated[
        Uscc, about("订阅企业统一社会信用代码", "Enterprise that subscribes", "91440300MA5EXAMP0C")
    ]
    app_code: Annotated[
        Code | None,
        about(
            "应用代码",
            "App or model; none for the platform as a whole",
            "APP-APS",
            note="所订阅的应用或模型;订阅整个平台时留空",
        ),
    ] = None
    start_on: Annotated[
        Day, about("开始日期", "First day (+08:00)", "2026-04-15", note="订阅的首日(北京时间)")
    ]
    end_on: Annotated[
        Day,
        about(
            "终止日期",
            "Day from which it holds no more (+08:00)",
            "2027-04-15",
            note="自该日起订阅不再有效(北京时间)",
        ),
    ]
    amount_wan: Annotated[
        Wan,
        about(
            "合同金额(万元)",
            "Amount of the contract, 10,000 yuan; 0 = free",
            3.6,
            note="合同的金额,单位:万元;免费为 0",
        ),
    ]
    paid_wan: Annotated[
        Wan, about("实付金额(万元)", "Paid so far, 10,000 yuan", 1.8, note="至今已付的金额,单位:万元")
    ]
    renewal: Annotated[
        bool,
        about("是否续订", "Whether it continues an earlier subscription", False, note="是否接续此前的订阅"),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "start_on", "end_on", strictly=True)
        ordered(self, "paid_wan", "amount_wan")
        return self


class AppUsage(Record):
    """Use of an app or model by an enterprise on a day."""

    zh = "应用使用统计"
    key = ("app_code", "enterprise_uscc", "day")
    dated = ("day",)
    reasoned = True
    app_code: Annotated[Code, about("应用代码", "App or model", "APP-APS", note="所使用的应用或模型")]
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "企业统一社会信用代码",
            "Enterprise that used it",
            "91440300MA5EXAMP0C",
            note="使用该应用或模型的企业",
        ),
    ]
    day: Annotated[Day, about("日期", "Day (+08:00)", "2026-11-23", note="使用的日期(北京时间)")]
    sessions: Annotated[Count, about("会话数", "Sessions of people", 26, note="人员的会话次数")]
    users: Annotated[Count, about("使用人数", "Different people", 9, note="使用的人数,同一人只计一次")]
    calls: Annotated[Count, about("调用次数", "Calls by programs", 1440, note="程序的调用次数")]
    used_h: Annotated[
        Annotated[Amount, Field(le=1e6)] | None,
        about(
            "使用时长(小时)", "Time of use of all people, hours", 31.5, note="全部人员使用时长之和,单位:小时"
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "users", "sessions")
        return self


class ApiStatistic(Record):
    """Business API calls of the platform in an hour or a day, without health checks and retries."""

    zh = "API调用统计"
    key = ("interface", "start", "span")
    dated = ("start",)
    reasoned = True
    interface: Annotated[Name, about("接口名称", "Interface", "order-query")]
    start: Annotated[
        Moment,
        about(
            "时段开始",
            "Start of the hour or day (RFC 3339 with zone)",
            "2026-11-23T08:00:00+08:00",
            note="该小时或该日的起点(RFC 3339,带时区)",
        ),
    ]
    span: Annotated[
        Literal["hour", "day"], about("时段", "hour or day", "hour", SPANS, note="按小时或按日统计")
    ]
    calls: Annotated[Count, about("调用次数", "Calls", 5210, note="业务调用的次数,不含健康检查和重试")]
    succeeded: Annotated[Count, about("成功次数", "Calls that succeeded", 5198, note="其中成功的调用次数")]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "succeeded", "calls")
        local_hour = (self.start.hour + 8) % 24  # validated to be UTC
        if self.start.minute or self.start.second or self.start.microsecond:
            raise broken("时段起点(start)应为整点", "start must be a full hour", field="start")
        if self.span == "day" and local_hour:
            raise broken(
                "按日统计时,起点(start)应为 +08:00 的零点",
                "the start of a day must be midnight of +08:00",
                field="start",
            )
        return self


class IdentifierStatistic(Record):
    """Identifiers (标识) of an enterprise registered and resolved on a day, by the secondary node."""

    zh = "标识注册与解析统计"
    key = ("enterprise_uscc", "prefix", "day")
    dated = ("day",)
    reasoned = True
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "企业统一社会信用代码",
            "Enterprise whose identifiers they are",
            "91440300MA5EXAMP0C",
            note="标识所属的企业",
        ),
    ]
    prefix: Annotated[
        Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){1,3}$")],
        about(
            "标识前缀",
            "Prefix of the enterprise at its secondary node",
            "88.188.1001",
            note="企业在其二级节点的标识前缀",
        ),
    ]
    day: Annotated[Day, about("日期", "Day (+08:00)", "2026-11-23", note="统计的日期(北京时间)")]
    registered: Annotated[
        Count,
        about("当日注册量(个)", "Identifiers registered that day", 1200, note="当日注册的标识数量,单位:个"),
    ]
    registered_total: Annotated[
        Count,
        about(
            "累计注册量(个)",
            "Registered until the end of that day",
            86_400,
            note="截至当日末已注册的标识数量,单位:个",
        ),
    ]
    resolutions: Annotated[
        Count, about("当日解析量(次)", "Successful resolutions that day", 3050, note="当日成功解析的次数")
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "registered", "registered_total")
        return self


class SatisfactionSurvey(Record):
    """Survey of enterprises about the platform; the answers are the enterprises', not the unit's."""

    zh = "用户满意度调查"
    key = ("code",)
    dated = ("closed_on",)
    reasoned = True
    code: Annotated[
        Code, about("调查代码", "Your own code of the survey", "SAT-2026Q3", note="本单位自编的调查代码")
    ]
    subject: Annotated[Name, about("调查对象", "What it is about", "行业平台整体", note="调查所针对的内容")]
    conducted_by: Annotated[Name, about("实施机构", "Who conducted it", "第三方调查机构")]
    opened_on: Annotated[
        Day, about("开始日期", "First day (+08:00)", "2026-09-01", note="调查的首日(北京时间)")
    ]
    closed_on: Annotated[
        Day, about("截止日期", "Last day (+08:00)", "2026-09-20", note="调查的最后一日(北京时间)")
    ]
    invited: Annotated[
        Count, about("发放问卷(份)", "Enterprises asked", 180, note="受邀答卷的企业数,一家一份")
    ]
    respondents: Annotated[
        Count, about("有效问卷(份)", "Enterprises that answered", 124, note="已答卷的企业数,一家一份")
    ]
    score: Annotated[
        Annotated[float, Field(ge=0, le=100)],
        about("平均得分(0–100)", "Mean score, 0 to 100 points", 87.5, note="答卷得分的平均值,0 至 100 分"),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "opened_on", "closed_on")
        ordered(self, "respondents", "invited")
        return self
