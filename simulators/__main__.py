"""``python -m simulators plan`` describes a province, ``python -m simulators run`` runs it."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import date
from pathlib import Path

import msgspec

from simulators.context import RunOptions
from simulators.faults import KINDS, parse_kinds
from simulators.plan import plan_province
from simulators.province import load_credentials, load_province
from simulators.run import run_province

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

AS_OF = date(2026, 11, 23)
"""The day on which the described province stands by default; dates of the plan count back from it."""


def seconds(text: str) -> float:
    """``14d``, ``6h``, ``90s`` or a plain number of seconds; ArgumentTypeError otherwise."""
    unit = _UNITS.get(text[-1:])
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = -1.0
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time such as 14d, 6h, 90s")
    return value


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="simulators", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan", help="write the static description of a province")
    plan.add_argument("--seed", type=int, default=7)
    plan.add_argument("--pilots", type=int, default=6)
    plan.add_argument("--enterprises", type=int, default=60)
    plan.add_argument("--equipment", type=int, default=300)
    plan.add_argument(
        "--as-of", type=date.fromisoformat, default=AS_OF, help="dates count back from this day"
    )
    plan.add_argument("--out", type=Path, default=None, help="file; standard output if absent")
    run = commands.add_parser("run", help="run the factories and platforms of a province")
    run.add_argument("--province", type=Path, required=True)
    run.add_argument("--credentials", type=Path, required=True)
    run.add_argument("--state-dir", type=Path, required=True)
    run.add_argument("--base-port", type=int, required=True)
    run.add_argument(
        "--history", type=seconds, default=0.0, help="how much of the past to fill: 14d, 6h; 0 for none"
    )
    run.add_argument("--faults", default="none", help=f"all, none or some of: {', '.join(KINDS)}")
    run.add_argument("--speed", type=float, default=1.0, help="how fast simulated time runs until it is now")
    run.add_argument(
        "--duration", type=seconds, default=0.0, help="stop after this time; 0: run until stopped"
    )
    options = parser.parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("asyncua", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if options.command == "plan":
        try:
            province = plan_province(
                options.seed, pilots=options.pilots, enterprises=options.enterprises, equipment=options.equipment,
                as_of=options.as_of,
            )  # fmt: skip
        except ValueError as error:
            parser.error(str(error))
        text = msgspec.json.format(msgspec.json.encode(province), indent=1) + b"\n"
        if options.out is None:
            sys.stdout.buffer.write(text)
        else:
            options.out.write_bytes(text)
        return 0
    try:
        faults = parse_kinds(options.faults)
        province = load_province(options.province)
        credentials = load_credentials(options.credentials)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        parser.error(str(error))
    settings = RunOptions(
        options.state_dir, options.base_port, options.history, faults, options.speed, options.duration
    )
    return run_province(province, credentials, settings)


if __name__ == "__main__":
    sys.exit(main())
