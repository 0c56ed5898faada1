"""docs/reasons.md and docs/datasets.md, written from the program: `python -m ingest.reference [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from string import Formatter

from ingest.datasets import reference as datasets
from ingest.replay import HINDRANCES
from store import quarantine
from store.reasons import FINDINGS, REASONS, Reason

DOCS = Path(__file__).parent.parent / "docs"
PATH = DOCS / "reasons.md"

_HEAD = """# 拒收原因 | Reasons for refusal

由程序生成(`make docs`),请勿手改。 | Generated from the program (`make docs`); do not edit.

没有什么会无声消失:不能接收的每一行都进入隔离区(quarantine),附原因、位置和原始字节。原因是下面这个封闭的列表;
代码一经发布,含义不变。`{名称}` 是该条的参数(`parameters`)。
Nothing vanishes silently: every row that cannot be taken goes into the quarantine, with reason, place and original
bytes. The reasons are the closed list below; a code, once released, keeps its meaning. `{name}` is a parameter of the entry.

"""
_FINDINGS = """
## 只标记质量,不拒收 | Findings that mark the quality and refuse nothing

仅用于登记了相应限值的标签,且只改变质量为 good 的读数。
Only for tags that register the limit (dataset `tag`), and only readings of good quality are changed.

| finding | 质量 quality | 中文 | English | 处理 | how to mend |
|---|---|---|---|---|---|
"""
_BOUNDS = f"""
## 保留多少 | How much is kept

* 每条原文最多 {quarantine.ORIGINAL_MOST_BYTES // 1024} KiB;超出的只保留开头,参数 `original_bytes`、`original_sha256` 注明全长和摘要。
  At most {quarantine.ORIGINAL_MOST_BYTES // 1024} KiB of an original; of longer ones the beginning, with the size and the
  SHA-256 of the whole in the parameters `original_bytes` and `original_sha256`.
* 每个单位未重放的原文合计最多 {quarantine.UNIT_MOST_BYTES // 2**20} MiB;此后每条只保留 {quarantine.BRIEF_BYTES} 字节,条目本身照常登记。
  At most {quarantine.UNIT_MOST_BYTES // 2**20} MiB of originals in a unit's open entries; after that {quarantine.BRIEF_BYTES} bytes
  of each. The entries themselves are always kept.

## 重放 | Replay

原因消除后(登记标签、更正范围、重新开放时段……),重放使现在能通过校验的数据再次进入日志:
When the cause is mended (a tag registered, a range corrected, a period opened again, …), a replay puts what would be
taken now into the log again:

* `qunce quarantine list | show | replay | export`; `POST /api/v1/quarantine/replay` (a unit its own only)
* 重复执行、同时执行或中途被终止,都不会使任何读数重复:条目在写入日志的同一事务中锁定并标记;万一再次写入,
  日志(两小时内)或库中的键(标签, 时间)使其成为"重复"。
  Run twice, at the same time, or killed in between, it doubles no reading: an entry is locked while it goes into the log and marked
  in the same transaction; should it go there again, the log (within two hours) or the store's key (tag, time) makes it a duplicate.
* 重放的读数按补传(back-fill)再次计入 received,并计入 stored、duplicates 或 corrections;隔离区条目作为历史保留,
  因此条目数始终等于账上的 quarantined。
  A replayed reading counts as received again, as back-fill, and as stored, duplicate or correction; the entry stays as history, so
  that the number of entries always equals `quarantined` of the account.
* 同一键此后若已存入其他值,重放的值生效,被替换的值保留为修订(revision)。
  Where another value of the same key has been stored meanwhile, the replayed one wins and the other is kept as a revision.
* 仍不能接收的保持未重放,并给出现在的原因。以下情况无法重放:
  What would still be refused stays open and is reported with its present reason. What cannot be replayed at all:

"""
_TABLE = "| code | 中文 | English | 处理 | how to mend |\n|---|---|---|---|---|\n"


def render() -> str:
    """The whole of docs/reasons.md."""
    findings = (
        f"| `{code}` | `0x{one.quality:04X}` {one.status} | {one.text.zh} | {one.text.en} |"
        f" {one.text.hint_zh} | {one.text.hint_en} |\n"
        for code, one in FINDINGS.items()
    )
    return "".join((_HEAD, _table(REASONS), _FINDINGS, *findings, _BOUNDS, _table(HINDRANCES)))


def parameters(reason: Reason) -> set[str]:
    """The names that a reason's texts are filled with."""
    texts = (reason.zh, reason.en, reason.hint_zh, reason.hint_en)
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}


def _table(reasons: Mapping[str, Reason]) -> str:
    rows = (
        f"| `{code}` | {one.zh} | {one.en} | {one.hint_zh} | {one.hint_en} |\n"
        for code, one in reasons.items()
    )
    return _TABLE + "".join(rows)


def main(arguments: list[str]) -> int:
    """Write the documents; with --check only say (exit code 1) that one is out of date."""
    code = 0
    for path, text in ((PATH, render()), (DOCS / "datasets.md", datasets.render())):
        if "--check" not in arguments:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            sys.stderr.write(f"docs/{path.name}: 不是最新 / not up to date; run `make docs`\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
