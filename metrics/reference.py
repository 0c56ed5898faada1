"""docs/indicators.md, written from the catalogue: `python -m metrics.reference [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path

from metrics.catalogue import Indicator, catalogue, groups
from metrics.formulas import FORMULAS
from metrics.reasons import REASONS

PATH = Path(__file__).parent.parent / "docs" / "indicators.md"

_LEVELS = {
    "equipment": "设备 equipment",
    "source": "数据源 source",
    "enterprise": "企业 enterprise",
    "cluster": "试点集群 cluster (pilot)",
    "province": "全省 province",
}
_EVIDENCE = {
    "V": "official text read | 读过官方原文",
    "S": "seen in a transcription or secondary source | 据转录或二手资料",
    "M": "from memory, not verified | 凭记忆,未核实",
    "P": "defined by this project | 本项目自定",
}
_HEAD = """# 指标目录 | Indicator catalogue

由 `python -m metrics.reference` 从 `metrics/catalogue/*.yaml` 生成,请勿手改。
Generated from `metrics/catalogue/*.yaml` by `python -m metrics.reference`; do not edit.

比率以 1 为单位存储(显示为 %),群体值由分子、分母之和求得,从不取平均;空值不等于零,必附原因。
Ratios are stored as fractions of 1 (shown as %); a group's value divides sums, ratios are never averaged;
null is not zero and always comes with a reason. Hours are UTC, days and months those of +08:00.
"""


def render() -> str:
    """The whole document."""
    parts = [_HEAD]
    for group, name in groups().items():
        parts.append(f"\n## {name.zh} | {name.en}\n")
        parts += [_entry(one) for one in catalogue().values() if one.group == group]
    parts.append("\n## 空值原因 | Why there is no value\n\n| code | 中文 | English |\n|---|---|---|\n")
    parts += [f"| `{code}` | {text.zh} | {text.en} |\n" for code, text in REASONS.items()]
    return "".join(parts)


def _entry(one: Indicator) -> str:
    lines = [
        f"\n### `{one.code}` {one.name.zh} | {one.name.en}\n",
        f"- 公式 | formula: {one.formula.zh}  \n  {one.formula.en}",
    ]
    if one.numerator:
        lines.append(f"- 分子 | numerator: {one.numerator.zh} | {one.numerator.en}")
    if one.denominator:
        lines.append(f"- 分母 | denominator: {one.denominator.zh} | {one.denominator.en}")
    lines += [f"- 系数 | coefficient: `{name}` = {value}" for name, value in one.coefficients.items()]
    shown = "%" if one.format.percent else one.unit
    formula = FORMULAS[one.code, one.version]
    names = [f"`{f.__module__}.{f.__name__}`" for f in (formula.compute, formula.now) if f is not None]
    lines += [
        f"- 单位 | unit: `{one.unit}` ({shown}, {one.format.precision} 位小数 | decimals); {one.kind}; better: {one.direction}",
        "- 层级与周期 | levels and periods: "
        + "; ".join(f"{_LEVELS[level]}: {', '.join(periods)}" for level, periods in one.periods.items()),
        "- 输入 | inputs: " + ", ".join(f"`{name}`" for name in one.inputs),
        f"- 来源 | source: {one.source} — {one.evidence}: {_EVIDENCE[one.evidence]}",
        f"- 版本 | version: {one.version}, valid from {one.valid_from}, {formula.provenance}; {', '.join(names)}",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the document; with --check only say (exit code 1) that it is out of date."""
    text = render()
    if "--check" in arguments:
        if not PATH.exists() or PATH.read_text("utf-8") != text:
            sys.stderr.write("docs/indicators.md is out of date: run python -m metrics.reference\n")
            return 1
        return 0
    PATH.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
