"""The indicator catalogue: definitions as data, one YAML file a group, loaded once into frozen types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

import yaml

Level = Literal["equipment", "source", "enterprise", "cluster", "province"]
Period = Literal["now", "hour", "day", "month"]
Kind = Literal["ratio", "sum", "count", "quantile"]
Direction = Literal["higher", "lower", "monitor"]
Evidence = Literal["V", "S", "M", "P"]


@dataclass(frozen=True, slots=True)
class Name:
    """A text in both languages."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Format:
    """How a value is shown: `percent` = times 100 with %, `precision` = decimals after that."""

    percent: bool
    precision: int


@dataclass(frozen=True, slots=True)
class Indicator:
    """One definition.

    `unit` is UCUM, of the stored value (ratios are fractions of 1: unit "1"). `periods` says for each
    level which periods are computed. `evidence`: how well the definition is founded (V official text
    read, S seen in a transcription, M from memory, P defined by the project). `numerator` and
    `denominator` name what is stored beside the value; None where there is none.
    """

    code: str
    group: str
    name: Name
    unit: str
    kind: Kind
    formula: Name
    numerator: Name | None
    denominator: Name | None
    inputs: tuple[str, ...]
    coefficients: Mapping[str, float]
    periods: Mapping[Level, tuple[Period, ...]]
    direction: Direction
    format: Format
    source: str
    evidence: Evidence
    version: int
    valid_from: date

    def has(self, level: str, period: str) -> bool:
        """Whether it is computed at this level for this period."""
        return period in self.periods.get(cast(Level, level), ())


@cache
def catalogue() -> Mapping[str, Indicator]:
    """Code → definition, in the order of the files. Raises ValueError naming file, code and field."""
    out: dict[str, Indicator] = {}
    for name, text in _texts():
        document = yaml.safe_load(text)
        for entry in document["indicators"]:
            indicator = _indicator(entry, document["group"]["code"], name)
            if indicator.code in out:
                raise ValueError(f"{name}: {indicator.code} is defined twice")
            out[indicator.code] = indicator
    return MappingProxyType(out)


@cache
def groups() -> Mapping[str, Name]:
    """Code → name of the groups, in the order of the files."""
    found = [yaml.safe_load(text)["group"] for _, text in _texts()]
    return MappingProxyType({group["code"]: Name(group["name_zh"], group["name_en"]) for group in found})


def _texts() -> list[tuple[str, str]]:
    folder = files("metrics") / "catalogue"
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    return [(name, (folder / name).read_text("utf-8")) for name in found]


def _indicator(entry: dict[str, Any], group: str, file: str) -> Indicator:
    code = entry.get("code", "?")
    try:
        periods = {
            _one_of(level, Level): tuple(_one_of(period, Period) for period in entry["periods"][level])
            for level in entry["periods"]
        }
        made = Indicator(
            code=entry["code"],
            group=group,
            name=Name(entry["name_zh"], entry["name_en"]),
            unit=entry["unit"],
            kind=_one_of(entry["kind"], Kind),
            formula=Name(entry["formula_zh"], entry["formula_en"]),
            numerator=_name(entry.get("numerator")),
            denominator=_name(entry.get("denominator")),
            inputs=tuple(entry["inputs"]),
            coefficients=MappingProxyType(dict(entry.get("coefficients", {}))),
            periods=MappingProxyType(periods),
            direction=_one_of(entry["direction"], Direction),
            format=Format(bool(entry["format"]["percent"]), int(entry["format"]["precision"])),
            source=entry["source"],
            evidence=_one_of(entry["evidence"], Evidence),
            version=int(entry["version"]),
            valid_from=entry["valid_from"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: {code}: {error!r}") from error
    if unknown := set(entry) - _FIELDS:
        raise ValueError(f"{file}: {code}: unknown fields {sorted(unknown)}")
    return made


_FIELDS = {
    "code", "name_zh", "name_en", "unit", "kind", "formula_zh", "formula_en", "numerator", "denominator",
    "inputs", "coefficients", "periods", "direction", "format", "source", "evidence", "version", "valid_from",
}  # fmt: skip


def _one_of(value: str, allowed: Any) -> Any:
    if value not in get_args(allowed):
        raise ValueError(f"{value!r} is none of {get_args(allowed)}")
    return value


def _name(entry: dict[str, str] | None) -> Name | None:
    return Name(entry["zh"], entry["en"]) if entry else None
