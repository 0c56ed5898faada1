"""Assessments of enterprises: digital level (中小企业数字化水平评测指标 2024 版), CMMM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ingest.breaches import broken, ordered
from ingest.datasets.fields import NONE, Amount, Count, Day, Name, Ticked, Uscc, Wan, Whole, about
from ingest.datasets.record import Record

Band = Literal["0-10", "10-20", "20-40", "40-60", "60-100"]
BANDS = {
    "0-10": "0–10 %", "10-20": "大于 10 % 至 20 %", "20-40": "大于 20 % 至 40 %", "40-60": "大于 40 % 至 60 %",
    "60-100": "大于 60 %",
}  # fmt: skip
NETWORKS = {
    **NONE,
    "control": "工控网", "application": "应用系统网络", "5g": "5G 工业网", "full": "全面覆盖",
}  # fmt: skip
LINKS = {
    **NONE,
    "product_design": "产品设计", "process_design": "工艺设计", "marketing": "营销管理", "after_sales": "售后服务",
    "scheduling": "计划排程", "production_control": "生产管控", "quality": "质量管理", "equipment": "设备管理",
    "safety": "安全生产", "energy": "能耗管理", "procurement": "采购管理", "logistics": "仓储物流",
    "finance": "财务管理", "human_resources": "人力资源",
}  # fmt: skip
SYSTEMS = {
    "none": "无", "single": "单个业务", "several": "两个及以上业务", "over_80": "超过 80 % 的业务", "all": "全部业务",
}  # fmt: skip
PLANNING = {str(level): f"第 {level} 档({level * 1.5:g} 分)" for level in range(6)}
MEASURES = NONE | {letter: f"选项 {letter}" for letter in "ABCDE"}
FOUR = {letter: label for letter, label in MEASURES.items() if letter != "E"}
Four = Literal["none", "A", "B", "C", "D"]
Change = Literal["increased", "flat", "decreased"]
CHANGES = {"increased": "增加", "flat": "持平", "decreased": "降低"}
METHODS = {"self": "企业自评", "on_site": "现场评定"}
Level = Annotated[Whole, Field(ge=0, le=4)]
CMMM = {"1": "一级 规划级", "2": "二级 规范级", "3": "三级 集成级", "4": "四级 优化级", "5": "五级 引领级"}
_EDGES: Mapping[str, tuple[float, float]] = {
    band: (float(band.split("-")[0]), float(band.split("-")[1])) for band in BANDS
}
_NONE = '["none"] = 无'


class DigitalAssessment(Record):
    """Answers of an enterprise to the digital-level assessment of 2024: 15 questions, 16 scenes, form figures."""

    zh = "数字化水平评测(2024版)"
    key = ("enterprise_uscc", "assessed_on")
    reasoned = True
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "企业统一社会信用代码", "Enterprise that was assessed", "91440300MA5EXAMP0C", note="被评测的企业"
        ),
    ]
    assessed_on: Annotated[
        Day, about("评测日期", "Day of the assessment (+08:00)", "2026-06-30", note="评测的日期(北京时间)")
    ]
    edition: Annotated[
        Literal["2024"], about("指标版本", "Edition of the indicators", "2024", {"2024": "2024 年版"})
    ]
    method: Annotated[
        Literal["self", "on_site"],
        about("评测方式", "Self-assessment, or determined on site", "on_site", METHODS),
    ]
    assessor: Annotated[
        Name | None,
        about(
            "评定机构",
            "Who determined it on site",
            "示例数字化评测中心",
            note="实施现场评定的机构;企业自评时不填",
        ),
    ] = None
    q1_networks: Annotated[
        Annotated[list[Literal["none", "control", "application", "5g", "full"]], Ticked],
        about(
            "1 网络建设(多选)",
            f"Q1 networks, several; {_NONE}",
            ["control", "application"],
            NETWORKS,
            note="第 1 题:已建设的网络,可多选,都没有的选「无」(none)",
        ),
    ]
    equipment_total: Annotated[
        Count,
        about(
            "生产设备总数(台)",
            "Form to Q2, Q3: production equipment, pieces",
            48,
            note="第 2、3 题所依据的数据:生产设备的数量,单位:台",
        ),
    ]
    equipment_digital: Annotated[
        Count,
        about(
            "数字化设备数(台)",
            "Form to Q2: of it digital, pieces",
            24,
            note="第 2 题所依据的数据:生产设备中数字化设备的数量,单位:台",
        ),
    ]
    q2_digital_equipment: Annotated[
        Band,
        about(
            "2 生产设备数字化率(%)",
            "Q2 digital / total equipment, percent",
            "40-60",
            BANDS,
            note="第 2 题:数字化设备数占生产设备总数的百分比",
        ),
    ]
    equipment_networked: Annotated[
        Count,
        about(
            "联网设备数(台)",
            "Form to Q3: of it networked, pieces",
            20,
            note="第 3 题所依据的数据:生产设备中联网设备的数量,单位:台",
        ),
    ]
    q3_networked_equipment: Annotated[
        Band,
        about(
            "3 生产设备联网率(%)",
            "Q3 networked / total equipment, percent",
            "40-60",
            BANDS,
            note="第 3 题:联网设备数占生产设备总数的百分比",
        ),
    ]
    q4_auto_collected: Annotated[
        Annotated[
            list[
                Literal[
                    "none", "product_design", "process_design", "marketing", "after_sales", "scheduling",
                    "production_control", "quality", "equipment", "safety", "energy", "procurement", "logistics",
                    "finance", "human_resources",
                ]
            ],
            Ticked,
        ],
        about(
            "4 自动采集的业务环节(多选)", f"Q4 links whose data are collected automatically; {_NONE}",
            ["energy", "equipment", "production_control"], LINKS,
            note="第 4 题:自动采集数据的业务环节,可多选,都没有的选「无」(none)",
        ),
    ]  # fmt: skip
    q5_systems: Annotated[
        Literal["none", "single", "several", "over_80", "all"],
        about(
            "5 业务的数字化管理",
            "Q5 businesses managed by information systems",
            "several",
            SYSTEMS,
            note="第 5 题:以信息系统管理的业务的范围",
        ),
    ]
    q6_network_security: Annotated[
        Annotated[list[Four], Ticked],
        about(
            "6 网络安全举措(多选)",
            f"Q6 measures, lettered as in the form; {_NONE}",
            ["A", "B"],
            FOUR,
            note="第 6 题:网络安全举措,选项字母同评测问卷,可多选,都没有的选「无」(none)",
        ),
    ]
    q7_data_security: Annotated[
        Annotated[list[Four], Ticked],
        about(
            "7 数据安全举措(多选)",
            f"Q7 measures, lettered as in the form; {_NONE}",
            ["A"],
            FOUR,
            note="第 7 题:数据安全举措,选项字母同评测问卷,可多选,都没有的选「无」(none)",
        ),
    ]
    q8_planning: Annotated[
        Literal["0", "1", "2", "3", "4", "5"],
        about(
            "8 规划实施",
            "Q8 awareness and execution, the step reached: 0 to 5",
            "3",
            PLANNING,
            note="第 8 题:对数字化的认识和规划的实施所达到的档,0 至 5",
        ),
    ]
    q9_management: Annotated[
        Annotated[list[Four], Ticked],
        about(
            "9 管理机制(多选)",
            f"Q9 rules, lettered as in the form; {_NONE}",
            ["A", "C"],
            FOUR,
            note="第 9 题:数字化管理制度,选项字母同评测问卷,可多选,都没有的选「无」(none)",
        ),
    ]
    q10_talent: Annotated[
        Annotated[list[Literal["none", "A", "B", "C", "D", "E"]], Ticked],
        about(
            "10 人才建设(多选)",
            f"Q10 measures, lettered as in the form; {_NONE}",
            ["A", "B"],
            MEASURES,
            note="第 10 题:人才建设举措,选项字母同评测问卷,可多选,都没有的选「无」(none)",
        ),
    ]
    q11_investment: Annotated[
        Band,
        about(
            "11 近三年平均数字化投入占营业额比例(%)",
            "Q11 share of turnover, percent",
            "0-10",
            BANDS,
            note="第 11 题:近三年平均数字化投入占营业额的百分比",
        ),
    ]
    q12_energy: Annotated[
        Change,
        about(
            "12 每百元营业收入综合能源消费量变化", "Q12 energy per 100 yuan of revenue", "decreased", CHANGES
        ),
    ]
    q13_quality: Annotated[
        Change, about("13 月均产品合格率变化", "Q13 mean monthly pass rate", "increased", CHANGES)
    ]
    q14_market: Annotated[
        Change, about("14 人均营业收入变化", "Q14 revenue per employee", "increased", CHANGES)
    ]
    q15_value: Annotated[
        Change,
        about("15 每百元营业收入中的成本变化", "Q15 cost per 100 yuan of revenue", "decreased", CHANGES),
    ]
    energy_tce: Annotated[
        Amount,
        about(
            "上年综合能源消费量(吨标准煤)",
            "Form to Q12: energy last year, tce",
            380.0,
            note="第 12 题所依据的数据:上年的综合能源消费量,单位:吨标准煤",
        ),
    ]
    energy_before_tce: Annotated[
        Amount,
        about(
            "前年综合能源消费量(吨标准煤)",
            "Form to Q12: energy the year before, tce",
            395.0,
            note="第 12 题所依据的数据:前年的综合能源消费量,单位:吨标准煤",
        ),
    ]
    employees: Annotated[
        Count,
        about(
            "上年员工人数(人)",
            "Form to Q14: employees last year",
            186,
            note="第 14 题所依据的数据:上年的员工人数",
        ),
    ]
    employees_before: Annotated[
        Count,
        about(
            "前年员工人数(人)",
            "Form to Q14: employees the year before",
            190,
            note="第 14 题所依据的数据:前年的员工人数",
        ),
    ]
    revenue_wan: Annotated[
        Wan,
        about(
            "上年营业收入(万元)",
            "Form to Q14: revenue last year, 10,000 yuan",
            20_800.0,
            note="第 14 题所依据的数据:上年的营业收入,单位:万元",
        ),
    ]
    revenue_before_wan: Annotated[
        Wan,
        about(
            "前年营业收入(万元)",
            "Form to Q14: revenue the year before, 10,000 yuan",
            19_600.0,
            note="第 14 题所依据的数据:前年的营业收入,单位:万元",
        ),
    ]
    cost_wan: Annotated[
        Wan,
        about(
            "上年营业成本(万元)",
            "Form to Q15: cost last year, 10,000 yuan",
            16_200.0,
            note="第 15 题所依据的数据:上年的营业成本,单位:万元",
        ),
    ]
    cost_before_wan: Annotated[
        Wan,
        about(
            "前年营业成本(万元)",
            "Form to Q15: cost the year before, 10,000 yuan",
            15_700.0,
            note="第 15 题所依据的数据:前年的营业成本,单位:万元",
        ),
    ]
    scene_product_design: Annotated[
        Level,
        about("场景 产品设计★", "Scene product design ★, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级"),
    ]
    scene_process_design: Annotated[
        Level,
        about("场景 工艺设计", "Scene process design, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级"),
    ]
    scene_marketing: Annotated[
        Level,
        about("场景 营销管理★", "Scene marketing ★, level 0 to 4", 1, note="该场景达到的等级,0 至 4 级"),
    ]
    scene_after_sales: Annotated[
        Level,
        about(
            "场景 售后服务", "Scene after-sales service, level 0 to 4", 1, note="该场景达到的等级,0 至 4 级"
        ),
    ]
    scene_scheduling: Annotated[
        Level, about("场景 计划排程", "Scene scheduling, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级")
    ]
    scene_production_control: Annotated[
        Level,
        about(
            "场景 生产管控★", "Scene production control ★, level 0 to 4", 3, note="该场景达到的等级,0 至 4 级"
        ),
    ]
    scene_quality: Annotated[
        Level,
        about(
            "场景 质量管理★", "Scene quality management ★, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级"
        ),
    ]
    scene_equipment: Annotated[
        Level,
        about(
            "场景 设备管理★",
            "Scene equipment management ★, level 0 to 4",
            3,
            note="该场景达到的等级,0 至 4 级",
        ),
    ]
    scene_safety: Annotated[
        Level, about("场景 安全生产★", "Scene safety ★, level 0 to 4", 1, note="该场景达到的等级,0 至 4 级")
    ]
    scene_energy: Annotated[
        Level,
        about(
            "场景 能耗管理★", "Scene energy management ★, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级"
        ),
    ]
    scene_procurement: Annotated[
        Level,
        about("场景 采购管理★", "Scene procurement ★, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级"),
    ]
    scene_logistics: Annotated[
        Level,
        about(
            "场景 仓储物流★",
            "Scene warehousing, logistics ★, level 0 to 4",
            2,
            note="该场景达到的等级,0 至 4 级",
        ),
    ]
    scene_finance: Annotated[
        Level, about("场景 财务管理", "Scene finance, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级")
    ]
    scene_human_resources: Annotated[
        Level,
        about("场景 人力资源", "Scene human resources, level 0 to 4", 1, note="该场景达到的等级,0 至 4 级"),
    ]
    scene_office: Annotated[
        Level,
        about(
            "场景 协同办公", "Scene office collaboration, level 0 to 4", 2, note="该场景达到的等级,0 至 4 级"
        ),
    ]
    scene_decision: Annotated[
        Level,
        about("场景 决策支持", "Scene decision support, level 0 to 4", 1, note="该场景达到的等级,0 至 4 级"),
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ordered(self, "equipment_digital", "equipment_total")
        ordered(self, "equipment_networked", "equipment_total")
        _in_band(
            "q2_digital_equipment", self.q2_digital_equipment, self.equipment_digital, self.equipment_total
        )
        _in_band(
            "q3_networked_equipment",
            self.q3_networked_equipment,
            self.equipment_networked,
            self.equipment_total,
        )
        revenue, before = self.revenue_wan, self.revenue_before_wan
        _as_figured(
            "q12_energy", self.q12_energy, (self.energy_tce, revenue), (self.energy_before_tce, before)
        )
        _as_figured("q14_market", self.q14_market, (revenue, self.employees), (before, self.employees_before))
        _as_figured("q15_value", self.q15_value, (self.cost_wan, revenue), (self.cost_before_wan, before))
        if (self.method == "on_site") != (self.assessor is not None):
            raise broken(
                "评定机构(assessor)仅在评测方式(method)为现场评定(on_site)时填写,且此时必填",
                "assessor belongs to the method on_site, and it to it",
                field="assessor",
            )
        return self


def _in_band(field: str, band: str, part: int, whole: int) -> None:
    percent = 100 * part / whole if whole else 0.0
    low, high = _EDGES[band]
    if not (low < percent <= high or (low == 0 and percent == 0)):
        raise broken(
            f"所选区间为 {band} %,而按所填台数计算为 {percent:.1f} %",
            f"{field} is {band} %, but the figures give {percent:.1f} %",
            field=field,
        )


def _as_figured(field: str, said: str, now: tuple[float, float], before: tuple[float, float]) -> None:
    """The direction must not contradict the figures; how much is still flat is for the assessor to say."""
    if now[1] == 0 or before[1] == 0:
        return
    change = now[0] / now[1] - before[0] / before[1]
    if (said == "increased" and change <= 0) or (said == "decreased" and change >= 0):
        raise broken(
            f"所选为{CHANGES[said]}({said}),而按所填数据计算的变化为 {change:+.6g}",
            f"{field} says {said}, but the figures give {change:+.6g}",
            field=field,
        )


class CmmmAssessment(Record):
    """Manufacturing-capability maturity of an enterprise (CMMM, GB/T 39116-2020, 39117-2020)."""

    zh = "智能制造能力成熟度评估"
    key = ("enterprise_uscc", "assessed_on")
    reasoned = True
    enterprise_uscc: Annotated[
        Uscc,
        about(
            "企业统一社会信用代码", "Enterprise that was assessed", "91440300MA5EXAMP0C", note="被评估的企业"
        ),
    ]
    assessed_on: Annotated[
        Day, about("评估日期", "Day of the assessment (+08:00)", "2026-07-15", note="评估的日期(北京时间)")
    ]
    score: Annotated[Annotated[float, Field(ge=0, le=5)], about("总得分(0–5)", "Total score, 0 to 5", 2.1)]
    level: Annotated[
        Literal["1", "2", "3", "4", "5"] | None,
        about(
            "成熟度等级", "Level 1 to 5; none = below level 1", "2", CMMM, note="1 至 5 级;未达到一级时留空"
        ),
    ] = None
    method: Annotated[
        Literal["self", "on_site"],
        about("评估方式", "Self-assessment, or certified", "self", METHODS, note="企业自评,或现场评定(认证)"),
    ]
    certificate_no: Annotated[
        Name | None, about("证书编号", "Number of the certificate", "CMMM-2026-0456")
    ] = None
