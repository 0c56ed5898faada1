"""All datasets there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ingest.datasets.assessment import CmmmAssessment, DigitalAssessment
from ingest.datasets.finance import CreditAuthorisation, Loan, LoanBalance
from ingest.datasets.park import IdleAsset, ParkMaturity, ParkResidence, ParkSpace, SharedCapacity
from ingest.datasets.platform import (
    ApiStatistic,
    App,
    AppUsage,
    IdentifierStatistic,
    SatisfactionSurvey,
    Subscription,
)
from ingest.datasets.production import (
    EnergyConsumption,
    EquipmentFailure,
    InspectionLot,
    ProductionOrder,
    ShiftCalendar,
)
from ingest.datasets.project import (
    BenchmarkCase,
    InvestmentPlan,
    InvestmentVoucher,
    Milestone,
    Partner,
    ReportedIndicator,
    SpecialAccountEntry,
    TaskCurvePoint,
    TaskTarget,
    TrainingSession,
)
from ingest.datasets.record import Record
from ingest.datasets.register import (
    Enterprise,
    Equipment,
    IndustryEnterprise,
    KeyProcess,
    Park,
    ProductRunTime,
    SupplyLink,
    Tag,
)
from ingest.datasets.sme import Certificate, EnterpriseStatement, IntellectualProperty

DATASETS: Mapping[str, type[Record]] = MappingProxyType(
    {
        "park": Park,
        "enterprise": Enterprise,
        "equipment": Equipment,
        "tag": Tag,
        "key_process": KeyProcess,
        "product_run_time": ProductRunTime,
        "shift_calendar": ShiftCalendar,
        "production_order": ProductionOrder,
        "inspection_lot": InspectionLot,
        "equipment_failure": EquipmentFailure,
        "energy_consumption": EnergyConsumption,
        "app": App,
        "subscription": Subscription,
        "app_usage": AppUsage,
        "api_statistic": ApiStatistic,
        "identifier_statistic": IdentifierStatistic,
        "satisfaction_survey": SatisfactionSurvey,
        "industry_enterprise": IndustryEnterprise,
        "supply_link": SupplyLink,
        "park_space": ParkSpace,
        "park_residence": ParkResidence,
        "idle_asset": IdleAsset,
        "shared_capacity": SharedCapacity,
        "park_maturity": ParkMaturity,
        "certificate": Certificate,
        "enterprise_statement": EnterpriseStatement,
        "intellectual_property": IntellectualProperty,
        "credit_authorisation": CreditAuthorisation,
        "loan": Loan,
        "loan_balance": LoanBalance,
        "digital_assessment": DigitalAssessment,
        "cmmm_assessment": CmmmAssessment,
        "task_target": TaskTarget,
        "task_curve_point": TaskCurvePoint,
        "milestone": Milestone,
        "investment_plan": InvestmentPlan,
        "investment_voucher": InvestmentVoucher,
        "special_account_entry": SpecialAccountEntry,
        "training_session": TrainingSession,
        "partner": Partner,
        "benchmark_case": BenchmarkCase,
        "reported_indicator": ReportedIndicator,
    }
)
"""Name in the address → model; what others refer to comes before them."""


def example(dataset: str) -> dict[str, Any]:
    """A record that is accepted once what it refers to is registered: the examples of all fields."""
    fields = DATASETS[dataset].model_fields
    return {name: field.examples[0] for name, field in fields.items() if field.examples}


def schema(dataset: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a record, with the natural key as `x-key` and the rules of corrections."""
    model = DATASETS[dataset]
    found = model.model_json_schema()
    found |= {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": model.zh,
        "x-key": list(model.key),
        "x-dated": list(model.dated),
        "x-reasoned": model.reasoned,
        "examples": [example(dataset)],
    }
    return found
