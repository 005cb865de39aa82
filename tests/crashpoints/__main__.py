"""``python -m tests.crashpoints --kills 20``: all points, many times, as a table."""

# ruff: noqa: E402, T201  (patching has to come before the imports below it; this is a program)
from gevent import monkey

monkey.patch_all()

import argparse
import sys

from . import driver
from .driver import Result
from .report import table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashpoints", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="at each side of each point")
    parser.add_argument("--only", default="", help="points that contain this text")
    options = parser.parse_args()

    def progress(result: Result, planned: int) -> None:
        done = result.kills.total()
        print(f"{done} of {planned} kills, {len(result.problems)} problems", file=sys.stderr)

    found = {point: one for point, one in driver.find_points().items() if options.only in point}
    result = driver.kill_at_all(found, options.kills, progress)
    print(table(result))
    return 1 if result.problems or result.missed else 0


if __name__ == "__main__":
    sys.exit(main())
