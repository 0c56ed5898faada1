"""The guide's two languages, and the comparison itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guide.blocks import Block, blocks_of, differences, steps_of

DOCS = Path(__file__).parents[2] / "docs"


def promised(kind: str, text: str) -> Block:
    return Block(kind, text, 1)


def test_both_languages_have_the_same_blocks() -> None:
    zh, en = blocks_of(DOCS / "guide.zh-CN.md"), blocks_of(DOCS / "guide.md")
    assert len(zh) > 10
    for ours, theirs in zip(zh, en, strict=True):
        assert ours._replace(line=0) == theirs._replace(line=0), f"zh line {ours.line}, en line {theirs.line}"
    assert steps_of(zh)


def test_sections_are_the_same_in_both_languages() -> None:
    def levels(name: str) -> list[str]:
        lines = (DOCS / name).read_text("utf-8").splitlines()
        return [line.partition(" ")[0] for line in lines if line.startswith("#")]

    assert levels("guide.zh-CN.md") == levels("guide.md")


@pytest.mark.parametrize(
    ("wanted", "got", "faults"),
    [
        ('{"a": 1}', '{"a": 1, "b": 2}', 0),
        ('{"a": 1}', '{"a": 2}', 1),
        ('{"a": 1}', '{"a": true}', 1),
        ('{"a": "…"}', '{"a": {"b": 2}}', 0),
        ('{"a": "x…z"}', '{"a": "xyz"}', 0),
        ('{"a": "x…z"}', '{"a": "xy"}', 1),
        ("[1, 2]", "[1, 2, 3]", 1),
        ('[1, "…"]', "[1, 2, 3]", 0),
        ('{"a": 1}\n{"a": 2}', '{"a": 1}{"a": 2}', 0),
        ('{"a": 1}', "", 1),
        ('{"a": 1}', "oops", 1),
        ('{"a": {"b": [1]}, "c": 1}', '{"a": {"b": [2]}}', 2),
    ],
)
def test_promised_json(wanted: str, got: str, faults: int) -> None:
    assert len(differences(promised("json", wanted), got)) == faults


@pytest.mark.parametrize(
    ("wanted", "got", "faults"),
    [("a\nc", "a\nb\nc", 0), ("c\na", "a\nb\nc", 1), ("a … c", "a b c", 0), ("a", "ab", 1)],
)
def test_promised_text(wanted: str, got: str, faults: int) -> None:
    assert len(differences(promised("text", wanted), got)) == faults


@pytest.mark.parametrize("kinds", [["json"], ["bash", "json", "json"], ["bash", "yaml"]])
def test_a_block_that_would_not_be_looked_at_is_refused(kinds: list[str]) -> None:
    with pytest.raises(ValueError, match="line 1"):
        steps_of([Block(kind, "", 1) for kind in kinds])
