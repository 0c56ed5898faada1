"""The list of reasons is closed: nothing else is used, nothing in it is idle, and it is documented."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from ingest.api.problems import codes_of
from ingest.reference import PATH, parameters, render
from ingest.replay import HINDRANCES
from store.reasons import FINDINGS, REASONS, Reason

ROOT = Path(__file__).parents[2]
ROOMS = ("ingest", "connectors", "store")
# Which argument of a call is a reason.
PLACES = {"Refusal": 1, "refuse": 1, "Malformed": 0, "BadPayload": 0, "BadTime": 0}
LISTS = {*REASONS, *HINDRANCES, *FINDINGS}


def trees() -> Iterator[ast.AST]:
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            if file != ROOT / "store" / "reasons.py":
                yield ast.parse(file.read_text("utf-8"))


def used(by: Collection[str] = (*PLACES, "")) -> set[str]:
    """The reasons given in calls of these names, or, "", by keyword."""
    found = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                arguments = node.args[PLACES[name] :][:1] if name in PLACES and name in by else []
                arguments += [k.value for k in node.keywords if k.arg == "reason" and "" in by]
                found |= {
                    a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)
                }
    return found


def test_every_reason_used_is_in_the_list() -> None:
    assert len(used()) > 15
    assert used() - REASONS.keys() == set()


def test_every_reason_to_refuse_a_body_whole_has_a_status() -> None:
    whole = used(("Malformed", "BadTime"))
    assert len(whole) > 10
    assert whole - {code for codes in codes_of().values() for code in codes} == set()


def test_every_reason_in_the_list_is_used() -> None:
    constants = {
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert REASONS.keys() - constants == set()


@pytest.mark.parametrize(
    "reason", [*REASONS.values(), *HINDRANCES.values(), *(f.text for f in FINDINGS.values())]
)
def test_texts_are_there_in_both_languages_with_the_same_parameters(reason: Reason) -> None:
    assert all((reason.zh, reason.en, reason.hint_zh, reason.hint_en))
    chinese = {name.removesuffix("_zh") for name in parameters(Reason(reason.zh, "", "", ""))}
    assert chinese == parameters(Reason("", reason.en, "", ""))
    assert parameters(Reason("", "", reason.hint_zh, "")) == parameters(Reason("", "", "", reason.hint_en))
    assert reason.message({}).keys() == reason.hint({}).keys() == {"zh", "en"}


def test_the_document_is_up_to_date_and_names_every_code() -> None:
    text = PATH.read_text("utf-8")
    assert text == render()
    assert [code for code in LISTS if f"`{code}`" not in text] == []
