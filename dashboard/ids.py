"""Every component id of the pages, in one place."""

from __future__ import annotations

URL = "url"
TICK = "tick"
LANGUAGE = "language"
PAGE = "page"
SHELL = "shell"
BANNER = "banner"
NAV = "nav"

OVERVIEW_HEADLINES = "overview-headlines"
OVERVIEW_MAP = "overview-map"
OVERVIEW_MAP_PILOTS = "overview-map-pilots"
OVERVIEW_STAGES = "overview-stages"
OVERVIEW_RANKING = "overview-ranking"
OVERVIEW_RANK_BY = "overview-rank-by"
OVERVIEW_RATE = "overview-rate"
OVERVIEW_RATE_NOW = "overview-rate-now"
OVERVIEW_PROBLEMS = "overview-problems"
OVERVIEW_PROBLEM_COUNT = "overview-problem-count"

CLUSTER_CODE = "cluster-code"
CLUSTER_HEAD = "cluster-head"
CLUSTER_FIGURES = "cluster-figures"
CLUSTER_TREND_GRAPHS = tuple(f"cluster-trend-graph-{n}" for n in range(8))
CLUSTER_TREND_HEADS = tuple(f"cluster-trend-head-{n}" for n in range(8))
CLUSTER_TREND_DRAWN = "cluster-trend-drawn"
CLUSTER_TREND_PERIOD = "cluster-trend-period"
CLUSTER_MILESTONES = "cluster-milestones"
CLUSTER_EQUIPMENT = "cluster-equipment"
CLUSTER_EQUIPMENT_SUMMARY = "cluster-equipment-summary"
CLUSTER_ENTERPRISES = "cluster-enterprises"
CLUSTER_PROBLEMS = "cluster-problems"

SUPPLY_TOTALS = "supply-totals"
SUPPLY_TABLE = "supply-table"
SUPPLY_REASONS = "supply-reasons"
SUPPLY_REFUSALS = "supply-refusals"
SUPPLY_UNIT = "supply-unit"

OPERATIONS_TOTALS = "operations-totals"
OPERATIONS_ACCOUNTS = "operations-accounts"
OPERATIONS_ALARMS = "operations-alarms"
OPERATIONS_CANARIES = "operations-canaries"
OPERATIONS_PARTS = "operations-parts"

REPORTS = "reports"
REPORTS_FORM = "reports-form"
REPORTS_RESULT = "reports-result"
REPORTS_RECENT = "reports-recent"

UNIT = "unit-page"

HOME_LIST = "home-list"
HOME_EQUIPMENT = "home-equipment"
