"""Both languages say the same things with the same parameters."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from dashboard import health
from dashboard.geo import cities
from dashboard.indicators import HEADLINES, RANKINGS
from dashboard.pages import STAGES, pages
from dashboard.texts import language_of, text, text_or, texts
from store.reasons import REASONS
from supervision.problems import Kind

ROOT = Path(__file__).parents[2] / "dashboard"


def placeholders(template: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def test_equal_keys() -> None:
    assert texts("zh").keys() == texts("en").keys()


def test_equal_placeholders() -> None:
    zh, en = texts("zh"), texts("en")
    assert {k: placeholders(v) for k, v in zh.items()} == {k: placeholders(v) for k, v in en.items()}


def test_no_blanks_round_a_text_but_of_scales() -> None:
    odd = [k for lang in ("zh", "en") for k, v in texts(lang).items() if v != v.strip()]
    assert [k for k in odd if not k.startswith("scale.1e")] == []


def test_every_key_in_the_code_exists() -> None:
    used = {
        key
        for file in ROOT.rglob("*.py")
        for key in re.findall(
            r'text\(\s*(?:lang|language|view\.language|self\.language)\s*,\s*"([^"]+)"', file.read_text()
        )
    }
    assert len(used) > 50
    assert used - texts("zh").keys() == set()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_keys_built_from_codes_exist(lang: str) -> None:
    keys = texts(language_of(lang)).keys()
    wanted = [
        *(f"problem.{k}.{part}" for k in get_args(Kind) for part in ("title", "evidence")),
        *(f"refusal.{code}" for code in REASONS),
        *(f"stage.{s}" for s in STAGES),
        *(f"rank.{r.code}" for r in RANKINGS),
        *(f"city.{c.code}" for c in cities()),
        *(f"banner.{k}{more}" for k in ("database", "silent", *health.NEEDED) for more in ("", ".more")),
        *(page.title for page in pages()),
    ]
    assert [k for k in wanted if k not in keys] == []
    assert HEADLINES


def test_a_missing_key_is_an_error_and_an_open_list_is_not() -> None:
    with pytest.raises(KeyError):
        text("zh", "no.such.key")
    assert text_or("zh", "no.such.key", "as it is") == "as it is"


def test_an_unknown_language_is_chinese() -> None:
    assert [language_of(code) for code in ("zh", "en", "fr", None, "")] == ["zh", "en", "zh", "zh", "zh"]
