"""docs/datasets.md, written from the models (`ingest.reference` puts it in its place)."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

from ingest.datasets.registry import DATASETS, example
from ingest.datasets.rules import CORRECTION_WINDOW

_HEAD = f"""# 数据集 | Datasets

由程序生成(`make docs`),请勿手改。 | Generated from the program (`make docs`); do not edit.

牵头单位报送的每一类数据是一个数据集:一个模型、一张表、一份 JSON Schema(`GET /api/v1/datasets/{{name}}/schema`)、
一个 Excel 模板(`GET /api/v1/datasets/{{name}}/template.xlsx`)。报送方法见 [interface.md](interface.md) 与
[reporting.md](reporting.md),拒收原因见 [reasons.md](reasons.md)。
What a lead unit reports is a dataset each: one model, one table, one JSON Schema, one Excel template.

* **主键**(粗体字段)相同而内容不同的记录是更正,旧内容保留为修订;完全相同的是重复。
  The same natural key (bold fields) with other content is a correction, the old content is kept as a revision; the same is a duplicate.
* **登记类**随时可以更正。**报表类**的更正和撤回须在请求体中给出 `reason`(可附凭证号 `voucher`),且须在首次报送后
  {CORRECTION_WINDOW.days} 天内(`correction_days`)。 | Registers are corrected freely. Statements need a `reason` in the body (and a
  `voucher` if there is one), and are corrected within {CORRECTION_WINDOW.days} days of their first report.
* **结账**:所述时间整段落在已结账时段内的记录不再接收,也不能更正或撤回。 | What speaks of a time that lies wholly in a closed period
  is not taken any more, nor corrected or withdrawn. The time is that of the last of the fields named under *dated*.
* **撤回**:`{{主键各字段, "withdrawn": true}}` 使记录不再有效,修订仍保留;仍被引用的记录不能撤回;再次报送即恢复。
  A record of the key fields and `"withdrawn": true` takes it back; its revisions stay; what others refer to cannot be withdrawn; reported
  again it is there again.
* 引用(`…_code`、`…_uscc`、`indicator`)须指向本单位已登记的对象。 | What a field refers to must be registered by the same unit.
* 日期为北京时间的 `YYYY-MM-DD`,时间为带时区的 RFC 3339,比率为小数(0.05 = 5 %)。 | Days are of +08:00, times RFC 3339 with a zone,
  ratios fractions of 1.

按下列顺序报送:先有被引用者。 | Report in this order: what others refer to comes first.

"""
_KINDS: dict[Any, str] = {
    str: "文本 text", int: "整数 integer", float: "数 number", bool: "是否 boolean", date: "日期 date",
    datetime: "时间 time", AwareDatetime: "时间 time",
}  # fmt: skip


def render() -> str:
    """The whole document."""
    rows = (
        f"| [`{name}`](#{name}) | {model.zh} | {_english(name)} | {'报表 statement' if model.reasoned else '登记 register'} |\n"
        for name, model in DATASETS.items()
    )
    table = "| dataset | 中文 | English | 更正 corrections |\n|---|---|---|---|\n" + "".join(rows)
    return _HEAD + table + "".join(part for name in DATASETS for part in _dataset(name))


def _dataset(name: str) -> Iterator[str]:
    model = DATASETS[name]
    yield f"\n## {name}\n\n{model.zh}。 {_english(name)}.\n\n"
    said = ["更正须说明原因 corrections need a reason" if model.reasoned else "随时可更正 corrected freely"]
    if model.dated:
        said.append("受结账限制 dated: " + ", ".join(f"`{field}`" for field in model.dated))
    if not model.withdrawable:
        said.append("不可撤回 cannot be withdrawn")
    yield (
        "; ".join(said)
        + "\n\n| 字段 field | 中文 label | 说明 description | 类型 type | 必填 required |\n|---|---|---|---|---|\n"
    )
    for field, info in model.model_fields.items():
        shown = f"**{field}**" if field in model.key else field
        required = "是 yes" if info.is_required() else ""
        yield f"| {shown} | {info.title} | {_described(info)} | {_kind(info)} | {required} |\n"
    yield f"\n```json\n{json.dumps(example(name), ensure_ascii=False)}\n```\n"


def _described(info: FieldInfo) -> str:
    return f"{_extra(info).get('description_zh', info.title)}<br>{info.description}"


def _extra(info: FieldInfo) -> Mapping[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _kind(info: FieldInfo) -> str:
    labels = _extra(info).get("labels")
    core, several = _core(info.annotation)
    if isinstance(labels, dict):
        named = "、".join(f"`{value}` {label}" for value, label in labels.items())
        return ("多选 several of: " if several else "") + named
    return _KINDS[core]


def _core(annotation: Any) -> tuple[Any, bool]:
    """(the type itself, whether there may be several)."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _core(inner[0])
    if origin in (Union, types.UnionType):
        return _core(next(one for one in inner if one is not type(None)))
    if origin is list:
        return _core(inner[0])[0], True
    return (str if origin is Literal else annotation), False


def _english(name: str) -> str:
    return (DATASETS[name].__doc__ or name).strip().splitlines()[0].rstrip(".")
