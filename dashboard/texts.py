"""Texts for people, by stable key, in Chinese and English."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, cast, get_args

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
DEFAULT: Language = "zh"


@cache
def texts(language: Language) -> Mapping[str, str]:
    """All texts of one language; templates with named placeholders."""
    raw = (files("dashboard") / "i18n" / f"{language}.json").read_text("utf-8")
    return MappingProxyType(cast(dict[str, str], json.loads(raw)))


def text(language: Language, key: str, **parameters: object) -> str:
    """The text of `key`. Raises KeyError for a key or placeholder that does not exist."""
    return texts(language)[key].format_map(parameters)


def text_or(language: Language, key: str, otherwise: str) -> str:
    """The text of `key`, or `otherwise` for codes of open lists (units, kinds of equipment)."""
    return texts(language).get(key, otherwise)


def language_of(code: str | None) -> Language:
    """The language a cookie or store asks for; Chinese when it asks for none that we have."""
    return "en" if code == "en" else DEFAULT


def either(language: Language, zh: str, en: str) -> str:
    """The name in the reader's language."""
    return zh if language == "zh" else en
