"""The code tables of the interface: what may stand in a field, in both languages. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ingest.datasets import DATASETS
from store.identity import PERMISSIONS, Permission
from store.reasons import FINDINGS, REASONS
from store.signals import MODE, STATE
from store.stoppages import KINDS, Kind

Entry = Mapping[str, Any]


class Table(NamedTuple):
    """A code table: what it is, whence it comes, its entries; each has at least `code`."""

    name: str
    zh: str
    en: str
    source: str
    entries: Sequence[Entry]

    def sha256(self) -> str:
        """Of its content, hexadecimal: two tables with the same content have the same."""
        return hashlib.sha256(
            msgspec.json.encode([self.zh, self.en, self.source, list(self.entries)])
        ).hexdigest()


_KEPT: Mapping[str, tuple[str, str, str]] = {
    "region": ("行政区划", "Administrative regions", "GB/T 2260; GB/T 10114"),
    "cluster": ("战略性产业集群", "Strategic industrial clusters", "粤府函〔2020〕82号"),
    "sub_sector": ("细分行业", "Sub-sectors of the clusters", "project-defined"),
}
_STATES = {
    "NotAvailable": ("不可用", "not available"),
    "OutOfService": ("停止服务", "out of service"),
    "NotExecuting": ("未在执行", "not executing"),
    "Executing": ("执行中", "executing"),
}
_MODES = {
    "None": ("无", "none"),
    "Maintenance": ("维护", "maintenance"),
    "Setup": ("准备", "setup"),
    "Processing": ("加工", "processing"),
}
_SIGNALS = (
    ("state", "状态", "state", "enum", "1"),
    ("mode", "模式", "mode", "enum", "1"),
    ("produced", "产量", "pieces produced", "counter", "1"),
    ("good", "合格品", "good pieces", "counter", "1"),
    ("scrap", "废品", "scrap", "counter", "1"),
    ("rework", "返工", "rework", "counter", "1"),
    ("energy", "电量", "electricity", "counter", "kW.h"),
)
_TYPES = (
    ("enum", "枚举", "enumeration: the name of a state or mode"),
    ("counter", "累计量", "number that only grows, between resets"),
    ("float", "浮点数", "number"),
    ("int", "整数", "whole number"),
    ("bool", "布尔", "true or false"),
    ("text", "文本", "text"),
)
_FLAGS = (
    ("N", "正常", "normal", True),
    ("F", "停运", "stopped", False),
    ("M", "维护", "maintenance", False),
    ("S", "手工输入", "entered by hand", True),
    ("D", "仪器故障", "instrument fault", False),
    ("C", "校准", "calibration", False),
    ("T", "超测定上限", "over range", False),
    ("B", "通讯异常", "link fault", False),
)
_STOPPAGES: Mapping[Kind, tuple[str, str]] = {
    "holiday": ("节假日", "holiday"),
    "maintenance": ("检修", "maintenance"),
    "no_order": ("无订单", "no order"),
    "relocation": ("搬迁", "relocation"),
    "power": ("停电限电", "power cut or rationing"),
    "emergency": ("突发事件", "emergency"),
    "other": ("其他", "other"),
}
_PERMISSIONS: Mapping[Permission, tuple[str, str]] = {
    "measurements:write": ("上报实时数据", "send telemetry"),
    "datasets:write": ("上报数据集", "report datasets"),
    "datasets:read": ("读取数据集", "read datasets"),
    "submissions:read": ("查看提交与处理结果", "see submissions and verdicts"),
    "quarantine:read": ("查看隔离区", "see what was refused"),
    "quarantine:write": ("重放隔离区", "replay what was refused"),
    "telemetry:read": ("读取实时数据", "read telemetry"),
    "indicators:read": ("读取指标", "read indicators"),
    "codes:read": ("读取代码表", "read code tables"),
    "service:write": ("心跳与停产申报", "heartbeat, declare stoppages"),
    "keys:read": ("查看密钥", "see keys"),
    "keys:write": ("签发、轮换、吊销密钥", "issue, rotate, revoke keys"),
    "people:read": ("查看人员", "see people"),
    "people:write": ("管理人员", "manage people"),
    "audit:read": ("查看审计日志", "read the audit log"),
    "operations:read": ("查看平台运行", "see how the platform runs"),
}


def kept(entries: Mapping[str, Sequence[Entry]]) -> list[Table]:
    """The tables that the database holds, from `store.codes.entries`."""
    return [Table(name, *_KEPT[name], rows) for name, rows in entries.items()]


def choices(table: Table) -> dict[str, str]:
    """Code → Chinese name, to choose from: of a district with its city, and not the province, in which all lie."""
    known = {entry["code"]: entry for entry in table.entries}
    return {
        code: _above(entry, known) + entry.get("zh", "")
        for code, entry in known.items()
        if entry.get("parent", "") is not None
    }


def _above(entry: Entry, known: Mapping[str, Entry]) -> str:
    above = known.get(entry.get("parent", ""))
    return "" if above is None or above["parent"] is None else str(above["zh"])


def fixed() -> list[Table]:
    """The tables that are part of the program."""
    return [
        Table("signal", "信号", "Signals with a fixed meaning", "project-defined; units UCUM", [
            {"code": code, "zh": zh, "en": en, "data_type": kind, "unit": unit}
            for code, zh, en, kind, unit in _SIGNALS
        ]),
        Table("state", "设备状态", "Equipment state", "OPC 40001-1 MachineryItemState", [
            {"code": code, "zh": _STATES[code][0], "en": _STATES[code][1], "value": value}
            for code, value in STATE.items()
        ]),
        Table("mode", "设备模式", "Equipment mode", "OPC 40001-1 MachineryOperationMode", [
            {"code": code, "zh": _MODES[code][0], "en": _MODES[code][1], "value": value}
            for code, value in MODE.items()
        ]),
        Table("data_type", "数据类型", "Data types of tags", "project-defined", [
            {"code": code, "zh": zh, "en": en} for code, zh, en in _TYPES
        ]),
        Table("quality_flag", "数据标记", "Quality flags", "HJ 212-2017 table 8", [
            {"code": code, "zh": zh, "en": en, "valid": valid} for code, zh, en, valid in _FLAGS
        ]),
        Table("dataset", "数据集", "Datasets", "project-defined", [
            {"code": name, "zh": model.zh, "en": name.replace("_", " "), "key": list(model.key),
             "fields": list(model.model_fields)}
            for name, model in DATASETS.items()
        ]),
        Table("stoppage_kind", "停产类别", "Kinds of stoppages", "project-defined", [
            {"code": kind, "zh": _STOPPAGES[kind][0], "en": _STOPPAGES[kind][1]} for kind in KINDS
        ]),
        Table("permission", "权限", "Permissions", "project-defined", [
            {"code": one, "zh": _PERMISSIONS[one][0], "en": _PERMISSIONS[one][1]} for one in PERMISSIONS
        ]),
        Table("reason", "拒收原因", "Reasons for refusal", "docs/reasons.md", [
            {"code": code, "zh": r.zh, "en": r.en, "mend_zh": r.hint_zh, "mend_en": r.hint_en}
            for code, r in REASONS.items()
        ]),
        Table("finding", "质量发现", "Findings that mark the quality", "docs/reasons.md", [
            {"code": code, "zh": f.text.zh, "en": f.text.en, "mend_zh": f.text.hint_zh,
             "mend_en": f.text.hint_en, "status": f.status}
            for code, f in FINDINGS.items()
        ]),
    ]  # fmt: skip
