"""The fenced blocks of a guide, and whether an output is the one that it promises.

A block of `bash`, `python` or `toml` is something to do; a `json` or `text` block is what the block
before it prints. In those, `…` stands for anything: within a text, as a whole value, or as the last
entry of a list; of an object only the members that are named are compared.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

TO_DO = ("bash", "python", "toml")
PROMISED = ("json", "text")
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY = "…"


class Block(NamedTuple):
    """A block: its language, its text, the line of the file where it begins."""

    kind: str
    text: str
    line: int


class Step(NamedTuple):
    """Something to do, and what it prints (None: the guide does not say)."""

    do: Block
    printed: Block | None


def blocks_of(file: Path) -> list[Block]:
    """All fenced blocks, in order."""
    content = file.read_text("utf-8")
    return [
        Block(found[1], found[2], content.count("\n", 0, found.start()) + 2)
        for found in _FENCE.finditer(content)
    ]


def steps_of(blocks: list[Block]) -> list[Step]:
    """Each block to do with the one it prints. Raises ValueError: a block that is neither, or that nothing prints."""
    steps: list[Step] = []
    for block in blocks:
        if block.kind in TO_DO:
            steps.append(Step(block, None))
        elif block.kind not in PROMISED:
            raise ValueError(f"line {block.line}: a block is one of {', '.join(TO_DO + PROMISED)}")
        elif not steps or steps[-1].printed is not None:
            raise ValueError(f"line {block.line}: no block before it prints this")
        else:
            steps[-1] = steps[-1]._replace(printed=block)
    return steps


def differences(promised: Block, printed: str) -> list[str]:
    """What the output lacks of what is promised; empty: nothing."""
    if promised.kind == "text":
        return _lines(promised.text, printed)
    wanted = [json.loads(line) for line in _documents(promised.text)]
    try:
        got = [json.loads(line) for line in _documents(printed)]
    except ValueError as error:
        return [f"not JSON: {error}"]
    if len(wanted) != len(got):
        return [f"{len(wanted)} documents are promised, {len(got)} were printed"]
    return [fault for one, other in zip(wanted, got, strict=True) for fault in _compared("$", one, other)]


def _documents(text: str) -> list[str]:
    """JSON documents one after the other, each as its text."""
    decoder, documents, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        _, end = decoder.raw_decode(text, at)
        documents.append(text[at:end])
        at = end
    return documents


def _compared(place: str, wanted: Any, got: Any) -> list[str]:
    if isinstance(wanted, dict) and isinstance(got, dict):
        missing = [f"{place}.{name} is missing" for name in wanted if name not in got]
        return missing + [
            fault
            for name in wanted
            if name in got
            for fault in _compared(f"{place}.{name}", wanted[name], got[name])
        ]
    if isinstance(wanted, list) and isinstance(got, list):
        if wanted and wanted[-1] == _ANY:
            wanted = wanted[:-1]
            got = got[: len(wanted)]
        if len(wanted) != len(got):
            return [f"{place} has {len(got)} entries, not {len(wanted)}: {got}"]
        pairs = enumerate(zip(wanted, got, strict=True))
        return [fault for i, (one, other) in pairs for fault in _compared(f"{place}[{i}]", one, other)]
    if isinstance(wanted, str) and _ANY in wanted:
        return [] if wanted == _ANY or _fits(wanted, str(got)) else [f"{place} is {got!r}, not {wanted!r}"]
    same = wanted == got and isinstance(wanted, bool) == isinstance(got, bool)
    return [] if same else [f"{place} is {got!r}, not {wanted!r}"]


def _lines(promised: str, printed: str) -> list[str]:
    lines = iter(printed.splitlines())
    return [
        f"no line {wanted!r} (in this order)"
        for wanted in promised.splitlines()
        if not any(_fits(wanted, line) for line in lines)
    ]


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split(_ANY))), text, re.DOTALL) is not None
