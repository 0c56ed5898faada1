"""Data of the simulated province: pilots, places, words for company names, and kinds of machines.

Region codes are GB/T 2260; clusters are Guangdong's 10 pillar and 10 emerging strategic clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Process:
    """A process value: its signal name, UCUM unit, value at rest and in production, spread, valid range."""

    signal: str
    unit: str
    rest: float
    run: float
    spread: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of machine: PRI range in s/item, power in kW, process temperature in Cel, share of scrap."""

    code: str
    prefix: str
    name_zh: str
    pri_s: tuple[float, float]
    idle_kw: float
    run_kw: float
    temperature: Process
    extra: Process
    scrap: float
    products: tuple[str, ...]


def _temperature(rest: float, run: float, spread: float) -> Process:
    return Process("temperature", "Cel", rest, run, spread, -20.0, round(run * 1.6 + 40))


def _kind(
    code: str,
    prefix: str,
    name_zh: str,
    pri_s: tuple[float, float],
    power_kw: tuple[float, float],
    temperature: tuple[float, float, float],
    extra: Process,
    scrap: float,
    products: str,
) -> Kind:
    return Kind(
        code, prefix, name_zh, pri_s, power_kw[0], power_kw[1], _temperature(*temperature), extra, scrap,
        tuple(products.split()),
    )  # fmt: skip


KINDS: Final[dict[str, Kind]] = {
    kind.code: kind
    for kind in (
        _kind("smt_line", "SMT", "SMT贴片线", (14, 32), (6, 28), (30, 245, 2.5),
              Process("reflow_speed", "cm/min", 0, 82, 1.2, 0, 200), 0.012, "主控板 电源板 摄像模组 蓝牙耳机板"),
        _kind("cnc", "CNC", "数控加工中心", (45, 150), (2.2, 11), (26, 46, 1.2),
              Process("spindle_speed", "/min", 0, 8200, 120, 0, 24000), 0.018, "中框 壳体 法兰 支架"),
        _kind("injection", "INJ", "注塑机", (22, 48), (5, 32), (60, 225, 2.0),
              Process("pressure", "bar", 4, 118, 3.5, 0, 300), 0.021, "面板 旋钮 外壳 卡扣"),
        _kind("test_bench", "TST", "功能测试台", (12, 30), (0.4, 1.8), (25, 38, 0.8),
              Process("current", "A", 0.3, 6.4, 0.3, 0, 40), 0.03, "整机测试 板级测试 老化测试"),
        _kind("press", "PRS", "冲压机", (5, 11), (3, 24), (27, 52, 1.5),
              Process("tonnage", "kN", 0, 1850, 40, 0, 6000), 0.009, "门板 侧围 内胆 底盘件"),
        _kind("welding_robot", "WLD", "焊接机器人", (38, 95), (1.8, 15), (28, 64, 2.2),
              Process("current", "A", 0, 215, 8, 0, 500), 0.014, "车架总成 座椅骨架 副车架"),
        _kind("assembly_line", "ASM", "总装线", (24, 60), (4, 17), (25, 33, 0.7),
              Process("torque", "N.m", 0, 34, 1.1, 0, 200), 0.008, "空调内机 电饭煲 转向机 显示模组"),
        _kind("painting", "PNT", "喷涂线", (30, 70), (12, 60), (32, 165, 3.0),
              Process("humidity", "%", 55, 48, 1.6, 0, 100), 0.025, "轮毂 外壳喷涂 灯罩"),
        _kind("loom", "LOM", "喷气织机", (16, 34), (1.1, 5.4), (27, 41, 1.0),
              Process("weft_rate", "/min", 0, 690, 14, 0, 1400), 0.022, "针织布 里料 提花布"),
        _kind("dyeing", "DYE", "染色机", (50, 140), (4, 22), (40, 128, 2.0),
              Process("ph", "[pH]", 7.0, 5.4, 0.12, 0, 14), 0.035, "染色布匹 成衣染色"),
        _kind("sewing", "SEW", "自动缝制单元", (20, 46), (0.3, 1.3), (26, 36, 0.9),
              Process("stitch_rate", "/min", 0, 3600, 90, 0, 7000), 0.024, "内衣 家居服 卫衣"),
        _kind("laser_cutter", "LSR", "激光切割机", (26, 85), (3.5, 26), (22, 31, 0.6),
              Process("laser_power", "kW", 0, 6.0, 0.15, 0, 20), 0.011, "钣金件 电池托盘 模切件"),
        _kind("laser_welder", "LSW", "激光焊接机", (18, 52), (2.4, 14), (22, 33, 0.7),
              Process("laser_power", "kW", 0, 3.1, 0.08, 0, 20), 0.013, "电芯极耳 传感器壳 密封钉"),
        _kind("additive", "ADD", "金属3D打印机", (420, 900), (1.6, 5.2), (24, 185, 2.4),
              Process("oxygen", "%", 20.9, 0.08, 0.01, 0, 25), 0.03, "叶轮 义齿支架 随形水路镶件"),
        _kind("die_casting", "DIE", "压铸机", (34, 75), (9, 55), (120, 655, 5.0),
              Process("pressure", "bar", 6, 860, 18, 0, 1500), 0.028, "灯体 电机壳 散热器"),
        _kind("led_packaging", "LED", "LED封装线", (6, 16), (2, 9), (28, 155, 2.0),
              Process("bond_force", "mN", 0, 640, 12, 0, 2000), 0.019, "灯珠 COB光源 灯带"),
        _kind("lamination", "LAM", "贴合机", (9, 24), (2.6, 12), (24, 74, 1.3),
              Process("vacuum", "kPa", 101, 3.2, 0.25, 0, 110), 0.023, "盖板贴合 背光模组 触控屏"),
        _kind("extruder", "EXT", "挤出机", (28, 66), (8, 42), (70, 208, 2.5),
              Process("screw_speed", "/min", 0, 96, 2.0, 0, 300), 0.017, "型材 电缆护套 板材"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PilotSeed:
    """What is fixed about a pilot: place, cluster, stage, and how it fares (gain of its improvement)."""

    region_code: str
    city_zh: str
    city_en: str
    cluster_code: str
    topic_zh: str
    topic_en: str
    abbreviation: str
    stage: str
    months_ago: int
    path: int
    gain: float
    loss: float
    kinds: tuple[str, ...]
    words: str
    counties: tuple[str, ...]


PILOTS: Final = (
    PilotSeed("441900", "东莞", "Dongguan", "new-it", "电子信息", "Electronics", "ELE", "piloting", 9, 2, 0.42, 1.0,
              ("smt_line", "test_bench", "cnc", "injection"), "电子 智能科技 精密 通讯", ("441900",)),
    PilotSeed("440600", "佛山", "Foshan", "smart-appliance", "智能家电", "Smart Appliances", "APP", "demonstration", 21,
              1, 0.75, 0.75, ("injection", "press", "assembly_line", "painting"), "电器 家电 厨卫 智能制造",
              ("440604", "440605", "440606", "440607", "440608")),
    PilotSeed("440100", "广州", "Guangzhou", "automobile", "汽车零部件", "Automotive Parts", "AUT", "assessment", 15,
              2, 0.5, 0.85, ("press", "welding_robot", "cnc", "painting"), "汽车部件 汽配 车身 汽车电子",
              ("440112", "440113", "440114", "440115", "440118")),
    PilotSeed("440500", "汕头", "Shantou", "modern-textile", "纺织服装", "Textiles and Garments", "TEX", "piloting", 8,
              1, -0.35, 1.55, ("loom", "dyeing", "sewing"), "织造 纺织 服饰 针织",
              ("440507", "440511", "440513", "440514", "440515")),
    PilotSeed("440300", "深圳", "Shenzhen", "laser-additive", "激光与增材制造", "Laser and Additive", "LAS",
              "incubation", 3, 2, 0.3, 1.1, ("laser_cutter", "laser_welder", "additive", "cnc"),
              "激光 光电 增材 智能装备", ("440305", "440306", "440307", "440309", "440310", "440311")),
    PilotSeed("442000", "中山", "Zhongshan", "smart-appliance", "灯饰照明", "Lighting", "LGT", "incubation", 4,
              1, 0.25, 1.2, ("die_casting", "led_packaging", "painting", "assembly_line"), "灯饰 照明 光电 五金",
              ("442000",)),
    PilotSeed("441300", "惠州", "Huizhou", "uhd-display", "超高清视频显示", "UHD Display", "DIS", "piloting", 7, 2, 0.35,
              1.0, ("lamination", "smt_line", "test_bench"), "显示 光电 视讯 电子",
              ("441302", "441303", "441322", "441323")),
    PilotSeed("445200", "揭阳", "Jieyang", "advanced-materials", "金属制品", "Metal Products", "MTL", "selection", 1,
              1, 0.1, 1.3, ("press", "die_casting", "cnc"), "金属 不锈钢 五金 材料", ("445202", "445203", "445281")),
    PilotSeed("440400", "珠海", "Zhuhai", "new-energy", "新能源", "New Energy", "NEN", "assessment", 14, 2, 0.5, 0.9,
              ("laser_welder", "assembly_line", "test_bench"), "新能源 电池 储能 电力", ("440402", "440403", "440404")),
    PilotSeed("440700", "江门", "Jiangmen", "advanced-materials", "先进材料", "Advanced Materials", "MAT", "piloting", 6,
              1, 0.3, 1.1, ("extruder", "injection", "press"), "新材料 高分子 管业 板材",
              ("440703", "440704", "440705", "440783")),
)  # fmt: skip

STAGES: Final = ("selection", "incubation", "piloting", "assessment", "demonstration")

TOWN_OR_COUNTY: Final[dict[str, str]] = {
    "440112": "黄埔", "440113": "番禺", "440114": "花都", "440115": "南沙", "440118": "增城", "440305": "南山",
    "440306": "宝安", "440307": "龙岗", "440309": "龙华", "440310": "坪山", "440311": "光明", "440402": "香洲",
    "440403": "斗门", "440404": "金湾", "440507": "龙湖", "440511": "金平", "440513": "潮阳", "440514": "潮南",
    "440515": "澄海", "440604": "禅城", "440605": "南海", "440606": "顺德", "440607": "三水", "440608": "高明",
    "440703": "蓬江", "440704": "江海", "440705": "新会", "440783": "开平", "441302": "惠城", "441303": "惠阳",
    "441322": "博罗", "441323": "惠东", "441900": "松山湖", "442000": "古镇", "445202": "榕城", "445203": "揭东",
    "445281": "普宁",
}  # fmt: skip

BRAND_FIRST: Final = (
    "华 鑫 宏 立 联 泰 粤 盛 瑞 嘉 恒 永 创 新 德 广 正 金 凯 启 同 信 东 顺 安 明 科 利 博 诚"
)
BRAND_SECOND: Final = "达 丰 源 兴 邦 成 辉 隆 翔 益 宇 合 晟 腾 悦 锐 驰 力 拓 昌 旺 捷 通 美 洋 伟 航 维"
