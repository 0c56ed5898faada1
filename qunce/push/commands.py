"""The commands themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qunce.options import JsonOption

if TYPE_CHECKING:
    from qunce.push.service import Service

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=["QUNCE_URL", "QUNCE_API_URL"],
        help="开放接口地址 | address of the open interface, https://…",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar=["QUNCE_KEY", "QUNCE_API_KEY"],
        help="本单位的 API 密钥 | the unit's API key",
        show_envvar=True,
    ),
]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="数据集名,如 enterprise | name of the dataset the file holds")
]


def push(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, readable=True,
            help="数据集的 .xlsx、.csv,或读数的 .parquet、.csv | a dataset's .xlsx or .csv, or .parquet or .csv of measurements",
        ),
    ],
    dataset: DatasetOption = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False,
            help="读数的列映射 TOML,见 docs/reporting.md | measurements: which column is what (TOML)",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只校验,不保存 | judge it, store nothing")] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="更正的原因 | why the file corrects what it corrects")
    ] = None,
    voucher: Annotated[
        str | None, typer.Option("--voucher", help="凭证号 | number of the document that proves it")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="只显示将发送的读数 | show the readings that would be sent, send nothing")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="从头补传,不续传 | begin anew, not where an earlier run ended")
    ] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """上报文件:数据集(--dataset)或历史读数(--mapping) | send a file: a dataset, or measurements of the past.

    退出码 0:全部接收;1:有被拒收的行;2:无法处理。 | exit code 0: all taken; 1: rows were refused; 2: could not be done.
    """
    if (dataset is None) == (mapping is None):
        raise typer.BadParameter("需要 --dataset 或 --mapping 之一 | give either --dataset or --mapping")
    if dry_run and mapping is not None:
        raise typer.BadParameter("读数请用 --check | for measurements use --check", param_hint="--dry-run")
    if check and mapping is None:
        raise typer.BadParameter("数据集请用 --dry-run | for a dataset use --dry-run", param_hint="--check")
    said = {name: text for name, text in (("reason", reason), ("voucher", voucher)) if text}
    if said and mapping is not None:
        raise typer.BadParameter("只用于数据集 | for datasets only", param_hint=f"--{next(iter(said))}")
    code = (
        _measurements(file, mapping, url, key, check=check, restart=restart, as_json=as_json)
        if mapping is not None
        else _dataset(file, str(dataset), url, key, said, dry_run=dry_run, as_json=as_json)
    )
    raise typer.Exit(code)


def pull_template(
    dataset: Annotated[str, typer.Argument(help="数据集名,如 enterprise | name of the dataset")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="保存为 .xlsx 或 .csv | file to write; default <dataset>.xlsx"),
    ] = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """下载数据集的填报模板 | save the template of a dataset, to be filled in."""
    from qunce.push.files import pull_template as pull
    from qunce.push.service import Refused

    target = output or Path(f"{dataset}.xlsx")
    try:
        with _service(url, key) as service:
            pull(service, dataset, target)
    except Refused as refused:
        raise typer.Exit(_say(str(refused))) from refused
    typer.echo(f"已保存 | saved: {target}")


def _dataset(
    file: Path,
    dataset: str,
    url: str | None,
    key: str | None,
    said: dict[str, str],
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    from rich.console import Console

    from qunce.push.files import keep_marked, push_file, show
    from qunce.push.service import Refused

    try:
        with _service(url, key) as service:
            job = push_file(
                service, file, dataset, dry_run=dry_run, parameters=said, console=Console(stderr=True)
            )
            marked = keep_marked(service, job, file)
    except Refused as refused:
        return _say(str(refused))
    if as_json:
        typer.echo(
            json.dumps(job | {"marked_file": str(marked) if marked else None}, ensure_ascii=False, indent=1)
        )
    else:
        show(job, marked, Console())
    if job["stage"] != "done":
        return 2
    return 1 if job["counts"]["quarantined"] else 0


def _measurements(
    file: Path, mapping: Path, url: str | None, key: str | None, *, check: bool, restart: bool, as_json: bool
) -> int:
    from rich.console import Console

    from qunce.push.service import Refused

    try:
        from qunce.push import backfill
        from qunce.push.mapping import MappingError, read_mapping
    except ModuleNotFoundError as missing:
        wheel = "'./qunce_client-….whl[readings]'"
        return _say(f"历史读数还需要 / measurements need {missing.name}, too: pip install {wheel}")
    try:
        known = read_mapping(mapping)
        if check:
            outcome = backfill.check(file, known, Console())
        else:
            with _service(url, key) as service:
                outcome = backfill.backfill(service, file, known, Console(stderr=True), restart=restart)
    except (MappingError, Refused) as error:
        return _say(str(error))
    if as_json:
        typer.echo(json.dumps(vars(outcome), ensure_ascii=False, indent=1))
    else:
        backfill.show(outcome, Console())
    return 1 if outcome.quarantined or outcome.untimed else 0


def _service(url: str | None, key: str | None) -> Service:
    from qunce.push.service import Refused, Service

    if not url:
        raise Refused("缺少接口地址 / the address is missing: --url or QUNCE_URL")
    if not key:
        raise Refused("缺少密钥 / the key is missing: --key or QUNCE_KEY")
    return Service(url, key, on_wait=lambda why: typer.echo(why, err=True))


def _say(message: str) -> int:
    print(f"qunce: {message}", file=sys.stderr)  # noqa: T201
    return 2
