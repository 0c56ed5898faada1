"""The enterprise group: certificates of 专精特新, statements, intellectual property."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from ingest.breaches import ordered
from ingest.datasets.fields import Amount, Count, Day, Name, Number, Period, SignedWan, Uscc, Wan, about
from ingest.datasets.record import Record

TIERS = {
    "innovative": "创新型中小企业", "srdi": "专精特新中小企业", "little_giant": "专精特新“小巨人”企业",
    "champion": "制造业单项冠军企业",
}  # fmt: skip
RIGHTS = {
    "invention_patent": "发明专利(Ⅰ类)", "plant_variety": "植物新品种(Ⅰ类)", "crop_variety": "国家级农作物品种(Ⅰ类)",
    "new_drug": "国家新药(Ⅰ类)", "tcm_protected": "国家一级中药保护品种(Ⅰ类)", "ic_layout": "集成电路布图设计(Ⅰ类)",
    "utility_model": "实用新型专利(Ⅱ类)", "design_patent": "外观设计专利(Ⅱ类)", "software": "软件著作权(Ⅱ类)",
}  # fmt: skip


class Certificate(Record):
    """Certificate of an enterprise's tier (专精特新 and the like) with its validity."""

    zh = "企业梯度认定证书"
    key = ("enterprise_uscc", "kind", "valid_from")
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "企业统一社会信用代码", "Enterprise that holds it", "91440300MA5EXAMP0C", note="持有证书的企业"
        ),
    ]
    kind: Annotated[
        Literal["innovative", "srdi", "little_giant", "champion"],
        about("认定类型", "Tier", "srdi", TIERS, note="所认定的梯度"),
    ]
    valid_from: Annotated[
        Day, about("有效期起", "First day (+08:00)", "2026-01-01", note="证书有效的首日(北京时间)")
    ]
    valid_to: Annotated[
        Day,
        about(
            "有效期止",
            "Day from which it holds no more (+08:00)",
            "2029-01-01",
            note="自该日起证书不再有效(北京时间)",
        ),
    ]
    certificate_no: Annotated[Number, about("证书编号", "Number of the certificate", "GD-ZJTX-2026-00123")]
    issuer: Annotated[Name, about("认定部门", "Who certified it", "广东省工业和信息化厅")]
    revoked_on: Annotated[
        Day | None,
        about(
            "撤销日期",
            "Day it was revoked (+08:00), if it was",
            "2027-06-30",
            note="证书被撤销的日期(北京时间);未撤销时留空",
        ),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "valid_from", "valid_to", strictly=True)
        ordered(self, "valid_from", "revoked_on")
        return self


class EnterpriseStatement(Record):
    """Statement of an enterprise for a month, a quarter or a year; amounts are of that period alone."""

    zh = "企业经营报表"
    key = ("enterprise_uscc", "period")
    dated = ("period",)
    reasoned = True
    enterprise_uscc: Annotated[
        Uscc, about("企业统一社会信用代码", "Enterprise", "91440300MA5EXAMP0C", note="报表所属的企业")
    ]
    period: Annotated[
        Period,
        about(
            "报告期",
            "Year 2026, quarter 2026-Q1 or month 2026-03 (+08:00)",
            "2026-Q3",
            note="年 2026、季度 2026-Q1 或月 2026-03(北京时间)",
        ),
    ]
    revenue_wan: Annotated[Wan, about("营业收入(万元)", "Operating revenue, 10,000 yuan", 5280.5)]
    main_business_wan: Annotated[
        Wan | None,
        about(
            "主营业务收入(万元)",
            "Of it from the main business, 10,000 yuan",
            5010.0,
            note="营业收入中的主营业务收入,单位:万元",
        ),
    ] = None
    cost_wan: Annotated[Wan, about("营业成本(万元)", "Operating cost, 10,000 yuan", 4120.25)]
    rd_expense_wan: Annotated[Wan, about("研发费用(万元)", "R&D expense, 10,000 yuan", 268.4)]
    employees: Annotated[Count, about("平均从业人数(人)", "Average number of employees", 186)]
    value_added_wan: Annotated[
        SignedWan | None, about("工业增加值(万元)", "Industrial value added, 10,000 yuan", 1310.0)
    ] = None
    output_wan: Annotated[
        Wan | None, about("工业总产值(万元)", "Gross industrial output, 10,000 yuan", 5400.0)
    ] = None
    tax_paid_wan: Annotated[
        SignedWan | None,
        about(
            "实缴税收(万元)",
            "Tax paid, refunds deducted, 10,000 yuan",
            215.8,
            note="实际缴纳的税额,已扣除退税,单位:万元",
        ),
    ] = None
    energy_tce: Annotated[
        Amount | None, about("综合能源消费量(吨标准煤)", "Comprehensive energy consumption, tce", 96.5)
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "main_business_wan", "revenue_wan")
        return self


class IntellectualProperty(Record):
    """Intellectual-property right of an enterprise."""

    zh = "知识产权"
    key = ("enterprise_uscc", "right_no")
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "企业统一社会信用代码",
            "Enterprise that owns it",
            "91440300MA5EXAMP0C",
            note="拥有该知识产权的企业",
        ),
    ]
    right_no: Annotated[
        Number,
        about("权利编号", "Number of the grant or registration", "ZL202410123456.7", note="授权或登记的编号"),
    ]
    kind: Annotated[
        Literal[
            "invention_patent", "plant_variety", "crop_variety", "new_drug", "tcm_protected", "ic_layout",
            "utility_model", "design_patent", "software",
        ],
        about("类型", "Kind of right; the first six are class I (Ⅰ类)", "invention_patent", RIGHTS, note="知识产权的类型,前六种为Ⅰ类"),
    ]  # fmt: skip
    title: Annotated[Name, about("名称", "Title", "一种手机中框的加工方法")]
    granted_on: Annotated[
        Day, about("授权日期", "Day of the grant (+08:00)", "2025-08-12", note="授权的日期(北京时间)")
    ]
    expires_on: Annotated[
        Day | None,
        about(
            "失效日期",
            "Day from which it is not in force any more (+08:00)",
            "2044-01-30",
            note="自该日起不再有效(北京时间)",
        ),
    ] = None
    in_use: Annotated[
        bool,
        about(
            "是否实际应用",
            "Whether it is used in what the enterprise makes",
            True,
            note="是否应用于企业的产品或生产",
        ),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "granted_on", "expires_on", strictly=True)
        return self
