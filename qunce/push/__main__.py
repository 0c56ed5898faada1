"""The commands for files by themselves, where nothing else of the platform is installed."""

from __future__ import annotations

import typer

from qunce.push.commands import pull_template, push

app = typer.Typer(no_args_is_help=True, add_completion=False, help="群策开放接口的文件命令 | files for Qunce")
app.command()(push)
app.command("pull-template")(pull_template)


def main() -> None:
    """Run."""
    app()


if __name__ == "__main__":
    main()
