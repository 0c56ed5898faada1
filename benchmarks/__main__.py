"""`python -m benchmarks [ingest|interface|isolation|rollup …]`: run these benchmarks, all by default."""

import sys

from benchmarks import ingest, interface, isolation, rollup

BENCHMARKS = {
    "ingest": ingest.main,
    "interface": interface.main,
    "isolation": isolation.main,
    "rollup": rollup.main,
}

if __name__ == "__main__":
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"== {name}", file=sys.stderr)
        BENCHMARKS[name]()
