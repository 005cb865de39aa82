"""The command line: ``python -m benchmarks.scaling --help``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks.harness import Bench
from benchmarks.report import environment
from benchmarks.results import clock, leave

from .fleet import measure_partitions, measure_processes, measure_sleepers
from .growth import Point, measure_active, measure_delayed, measure_waiting

PARTS: dict[str, Callable[[Bench], list[Point]]] = {
    "waiting": measure_waiting,
    "active": measure_active,
    "delayed": measure_delayed,
    "processes": measure_processes,
    "partitions": measure_partitions,
    "sleepers": measure_sleepers,
}


@click.command(help="Measure how cost grows; without names, all of: " + ", ".join(PARTS))
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(PARTS)))
@click.option("--rounds", default=3, type=click.IntRange(1), help="How often to drain.  [3]")
@click.option("--quick", is_flag=True, help="Tiny sizes, to see that all of it works.")
@click.option("--server", type=click.Choice(["redis", "valkey"]), default="redis", help="[redis]")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where the results go.")
def main(names: Sequence[str], rounds: int, quick: bool, server: str, file: Path | None) -> None:
    began_at = time.monotonic()
    say = clock()
    bench = Bench(server, quick, rounds, say)
    with bench.place() as place:
        info = place.server.info("server")
        found = environment(server, info.get("valkey_version") or info["redis_version"])
    parts = {}
    for name in names or PARTS:
        say(name)
        parts[name] = PARTS[name](bench)
    found["machine"]["load_after"] = os.getloadavg()[0]
    result = {**found, "quick": quick, "rounds": bench.rounds, "parts": parts}
    leave({**result, "seconds": time.monotonic() - began_at}, file)


if __name__ == "__main__":
    sys.exit(main())
