"""Industrial digital finance: what enterprises authorise, loans, their balances."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ingest.breaches import broken, ordered
from ingest.datasets.fields import Day, Name, Number, Share, Uscc, Wan, about
from ingest.datasets.record import Record

KINDS = {"loan": "贷款", "credit_line": "授信额度"}
RISKS = {
    "normal": "正常", "special_mention": "关注", "substandard": "次级", "doubtful": "可疑", "loss": "损失",
}  # fmt: skip


class CreditAuthorisation(Record):
    """Authorisation by which an enterprise lets a bank see its data of the enterprise pool."""

    zh = "企业征信授权"
    key = ("enterprise_uscc", "bank_uscc", "valid_from")
    enterprise_uscc: Annotated[
        Uscc, about("授权企业统一社会信用代码", "Enterprise that authorises", "91440300MA5EXAMP0C")
    ]
    bank_uscc: Annotated[
        Uscc,
        about("银行统一社会信用代码", "Bank that is authorised", "91110000MA01BANK02", note="被授权的银行"),
    ]
    valid_from: Annotated[
        Day, about("有效期起", "First day (+08:00)", "2026-01-01", note="授权有效的首日(北京时间)")
    ]
    valid_to: Annotated[
        Day,
        about(
            "有效期止",
            "Day from which it holds no more (+08:00)",
            "2027-01-01",
            note="自该日起授权不再有效(北京时间)",
        ),
    ]
    document_no: Annotated[
        Number,
        about(
            "授权书编号", "Number of the signed authorisation", "SQ-2026-0088", note="已签署的授权书的编号"
        ),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "valid_from", "valid_to", strictly=True)
        return self


class Loan(Record):
    """Loan or credit line that platform data helped to decide; the enterprise must have authorised the bank."""

    zh = "促成融资"
    key = ("bank_uscc", "loan_no")
    dated = ("disbursed_on",)
    reasoned = True
    bank_uscc: Annotated[Uscc, about("银行统一社会信用代码", "Bank", "91110000MA01BANK02")]
    loan_no: Annotated[
        Number,
        about(
            "借据或授信编号",
            "The bank's number of the loan",
            "JJ20260518001",
            note="银行为该笔贷款或授信所编的编号",
        ),
    ]
    enterprise_uscc: Annotated[
        Uscc, about("借款企业统一社会信用代码", "Enterprise that borrows", "91440300MA5EXAMP0C")
    ]
    kind: Annotated[Literal["loan", "credit_line"], about("类型", "loan or credit_line", "loan", KINDS)]
    product: Annotated[
        Name, about("金融产品", "Product of the bank", "产业集群数据贷", note="银行的产品名称")
    ]
    amount_wan: Annotated[
        Annotated[Wan, Field(gt=0)],
        about(
            "金额(万元)",
            "Amount disbursed, or granted as a line, 10,000 yuan",
            300.0,
            note="贷款的发放金额或授信的额度,单位:万元",
        ),
    ]
    annual_rate: Annotated[
        Share | None,
        about(
            "年利率",
            "Interest rate p.a., a fraction of 1 (0.0365 = 3.65 %)",
            0.0365,
            note="以小数表示的年利率(0.0365 = 3.65 %)",
        ),
    ] = None
    disbursed_on: Annotated[
        Day,
        about(
            "发放日期",
            "Day it was disbursed or granted (+08:00)",
            "2026-05-18",
            note="发放贷款或给予授信的日期(北京时间)",
        ),
    ]
    due_on: Annotated[
        Day | None, about("到期日期", "Day it is due (+08:00)", "2027-05-18", note="到期的日期(北京时间)")
    ] = None
    first_loan: Annotated[
        bool,
        about("是否首贷", "Whether it is the enterprise's first loan", True, note="是否为该企业的首笔贷款"),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "disbursed_on", "due_on", strictly=True)
        if self.kind == "loan" and self.annual_rate is None:
            raise broken("贷款须填年利率(annual_rate)", "a loan needs its annual_rate", field="annual_rate")
        return self


class LoanBalance(Record):
    """Balance of a loan on a day, with its risk class of five."""

    zh = "贷款余额与五级分类"
    key = ("bank_uscc", "loan_no", "as_of")
    dated = ("as_of",)
    reasoned = True
    bank_uscc: Annotated[Uscc, about("银行统一社会信用代码", "Bank", "91110000MA01BANK02")]
    loan_no: Annotated[
        Number,
        about(
            "借据编号",
            "The bank's number of a loan reported before",
            "JJ20260518001",
            note="此前已报送的贷款,银行所编的编号",
        ),
    ]
    as_of: Annotated[Day, about("统计日期", "Day (+08:00)", "2026-10-31", note="余额所截至的日期(北京时间)")]
    balance_wan: Annotated[
        Wan, about("余额(万元)", "Outstanding, 10,000 yuan", 250.0, note="尚未偿还的金额,单位:万元")
    ]
    risk_class: Annotated[
        Literal["normal", "special_mention", "substandard", "doubtful", "loss"],
        about(
            "风险分类",
            "Risk class; the last three are non-performing",
            "normal",
            RISKS,
            note="贷款五级分类,后三类(次级、可疑、损失)为不良贷款",
        ),
    ]
