"""`python -m tests.chaos`: rounds of load and faults; exit code 1 unless nothing was lost or doubled."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.chaos.faults import netem_works
from tests.chaos.ground import Ground, new_root
from tests.chaos.rounds import Run, look_back, play

_INSIDE = "QUNCE_CHAOS_INSIDE"


def main() -> int:
    """Play the rounds asked for."""
    options = _options()
    _go_apart()
    inside = os.environ.get(_INSIDE) == "1"
    netem = inside and netem_works()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    root = new_root()
    ground = Ground(root, disks=inside)
    network = "tc netem" if netem else "a proxy (no netem here)"
    disks = "own ext4 file systems" if inside else "skipped (needs root and unshare)"
    print(
        f"seed={options.seed} rounds={options.rounds} slow network by {network}; full disk: {disks}",
        flush=True,
    )
    reports: list[dict[str, Any]] = []
    back: dict[str, Any] | None = None
    try:
        with ground.laid():
            run = Run(ground, options.seed, netem, options.load, options.long)
            for number in range(options.first, options.first + options.rounds):
                last = number == options.first + options.rounds - 1
                report = play(run, number, ask=last or number % 5 == 4)
                reports.append(report)
                _tell(report, options)
                if not report["passed"] and options.stop:
                    break
            back = look_back(run)
    finally:
        if options.report is not None:
            options.report.write_text(
                json.dumps({"rounds": reports, "all_again": back}, indent=1, ensure_ascii=False) + "\n",
                "utf-8",
            )
        if reports and all(report["passed"] for report in reports) and not options.keep:
            shutil.rmtree(root, ignore_errors=True)
        else:
            _keep_logs(root, whole=options.keep)
    return _verdict(reports, back, options.rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--load", type=float, default=1.0, help="1 = about 8,000 rows/s")
    parser.add_argument("--long", action="store_true", help="outages of 60 s among them")
    parser.add_argument("--stop", action="store_true", help="stop at the first round that fails")
    parser.add_argument("--keep", action="store_true", help="keep the whole directory")
    parser.add_argument("--json", action="store_true", help="the report of every round as one line of JSON")
    parser.add_argument("--report", type=Path, help="file for all reports, JSON")
    return parser.parse_args()


def _go_apart() -> None:
    """Begin again in mount and network name spaces of our own, where that is possible.

    What is mounted there is gone when the last of us is, however we end, and nobody else's network slows down.
    """
    if _INSIDE in os.environ or os.geteuid() != 0 or (unshare := shutil.which("unshare")) is None:
        return
    apart = [unshare, "--mount", "--net", "--propagation", "private"]
    ready = "ip link set lo up && d=$(mktemp -d) && mount -t tmpfs none $d && umount $d && rmdir $d"
    works = subprocess.run([*apart, "sh", "-c", ready], check=False, capture_output=True).returncode == 0
    os.environ[_INSIDE] = "1" if works else "0"
    if works:
        again = [sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
        os.execv(unshare, [*apart, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *again])


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _tell(report: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(report, ensure_ascii=False), flush=True)
        return
    faults = ", ".join(f"{event['fault']} @{event['at_s']}" for event in report["faults"])
    print(
        f"round {report['round']:>3} {'ok ' if report['passed'] else 'BAD'}"
        f" acknowledged={report['acknowledged']} stored={report['stored']} duplicates={report['duplicates']}"
        f" lost={report['lost']} doubled={report['doubled']} recovery={report['recovery_s']} s"
        f" outage={max(report['longest_outage_s'].values(), default=0)} s took={report['took_s']} s | {faults}",
        flush=True,
    )
    for line in report["wrong"]:
        print(f"      {line}", flush=True)
    for name in ("wrong_values", "unsent", "stale_latest"):
        if report[name]:
            print(f"      {name}={report[name]}", flush=True)
    if report["lost_examples"]:
        print(f"      lost, e.g. {'; '.join(report['lost_examples'])}", flush=True)


def _keep_logs(root: Path, *, whole: bool) -> None:
    if not whole:
        for name in ("nats.img", "postgres.img", "nats", "postgres"):
            path = root / name
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    print(f"logs: {root}/data/logs", flush=True)


def _verdict(reports: list[dict[str, Any]], back: dict[str, Any] | None, wanted: int) -> int:
    acknowledged = sum(report["acknowledged"] for report in reports)
    # What a round found lost may have come later; what it found stored must not have gone.
    lost, doubled = (
        max(sum(report[name] for report in reports), back[name] if back else 0)
        for name in ("lost", "doubled")
    )
    failed = [report["round"] for report in reports if not report["passed"]]
    if back is not None and not back["passed"]:
        failed.append(f"all rounds again: {json.dumps(back)}")
    rate = acknowledged / max(1.0, sum(report["sent_s"] for report in reports))
    print(
        f"rounds={len(reports)} acknowledged={acknowledged} rows_per_second={rate:.0f} lost={lost} doubled={doubled}"
        + (f" failed={failed}" if failed else ""),
        flush=True,
    )
    return 0 if len(reports) == wanted and back is not None and not failed else 1


if __name__ == "__main__":
    started = time.monotonic()
    try:
        code = main()
    except KeyboardInterrupt:
        print(f"interrupted after {time.monotonic() - started:.0f} s", flush=True)
        code = 130
    sys.exit(code)
