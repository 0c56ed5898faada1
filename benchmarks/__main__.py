"""`python -m benchmarks [isolation|rollup …]`: what is no part of `qunce bench`; all by default."""

import sys

from benchmarks import isolation, rollup

BENCHMARKS = {"isolation": isolation.main, "rollup": rollup.main}

if __name__ == "__main__":
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"== {name}", file=sys.stderr)
        BENCHMARKS[name]()
