"""The documentation as pages: every chapter in both languages, and every link between them leads somewhere."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from dashboard.handbook import CHAPTERS, Reached, page
from dashboard.texts import Language

LANGUAGES = get_args(Language)


def targets(html: str) -> list[str]:
    return re.findall(r'<a[^>]*href="([^"]*)"', html)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", CHAPTERS)
def test_every_link_of_a_chapter_leads_to_what_is_there(name: str, lang: Language) -> None:
    html = page(name, lang)
    for href in targets(html):
        path, _, part = href.partition("#")
        found = re.fullmatch(r"(?:/docs/([a-z]+))?", path)
        if found is None:
            assert re.match(r"https?://|/$|/language/(zh|en)$|/api/openapi\.json$", href), href
        elif part:
            assert f'id="{part}"' in page(found[1] or name, lang), href
        else:
            assert found[1] in CHAPTERS, href


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_pasted_from_the_guide_goes_to_this_platform(lang: Language) -> None:
    html = page("guide", lang, Reached("https://gd.example/", "mqtts://mq.example"))
    assert "QUNCE_URL:-https://gd.example}" in html
    assert "QUNCE_MQTT_HOST:-mq.example}" in html
    assert "QUNCE_MQTT_PORT:-8883}" in html
    assert "8760" not in html
    assert "21883" not in html


def test_the_guide_is_in_the_readers_language() -> None:
    assert "<h1" in page("guide", "zh")
    assert page("guide", "zh") != page("guide", "en")
    assert "对接指南" in page("guide", "zh") or "接入指南" in page("guide", "zh")


def test_what_looks_like_markup_in_a_document_is_text() -> None:
    assert "<b>" not in page("reasons", "en")
