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
    bank_uscc: Annotated[Uscc, about("银行统一社会信用代码", "Bank that is authorised", "91110000MA01BANK02")]
    valid_from: Annotated[Day, about("有效期起", "First day (+08:00)", "2026-01-01")]
    valid_to: Annotated[Day, about("有效期止", "Day from which it holds no more (+08:00)", "2027-01-01")]
    document_no: Annotated[Number, about("授权书编号", "Number of the signed authorisation", "SQ-2026-0088")]

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
    loan_no: Annotated[Number, about("借据或授信编号", "The bank's number of the loan", "JJ20260518001")]
    enterprise_uscc: Annotated[
        Uscc, about("借款企业统一社会信用代码", "Enterprise that borrows", "91440300MA5EXAMP0C")
    ]
    kind: Annotated[Literal["loan", "credit_line"], about("类型", "loan or credit_line", "loan", KINDS)]
    product: Annotated[Name, about("金融产品", "Product of the bank", "产业集群数据贷")]
    amount_wan: Annotated[
        Annotated[Wan, Field(gt=0)],
        about("金额(万元)", "Amount disbursed, or granted as a line, 10,000 yuan", 300.0),
    ]
    annual_rate: Annotated[
        Share | None, about("年利率", "Interest rate p.a., a fraction of 1 (0.0365 = 3.65 %)", 0.0365)
    ] = None
    disbursed_on: Annotated[Day, about("发放日期", "Day it was disbursed or granted (+08:00)", "2026-05-18")]
    due_on: Annotated[Day | None, about("到期日期", "Day it is due (+08:00)", "2027-05-18")] = None
    first_loan: Annotated[bool, about("是否首贷", "Whether it is the enterprise's first loan", True)]

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
        Number, about("借据编号", "The bank's number of a loan reported before", "JJ20260518001")
    ]
    as_of: Annotated[Day, about("统计日期", "Day (+08:00)", "2026-10-31")]
    balance_wan: Annotated[Wan, about("余额(万元)", "Outstanding, 10,000 yuan", 250.0)]
    risk_class: Annotated[
        Literal["normal", "special_mention", "substandard", "doubtful", "loss"],
        about("风险分类", "Risk class; the last three are non-performing", "normal", RISKS),
    ]
