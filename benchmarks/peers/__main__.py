"""The command line: ``python -m benchmarks.peers --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.results import clock, leave

from .run import measure
from .systems import BY_NAME
from .workloads import FULL, QUICK, WORKLOADS


@click.command(help="Measure this project and its peers on the same work, taking turns.")
@click.option("--system", "systems", multiple=True, type=click.Choice(list(BY_NAME)), help="[all]")
@click.option("--work", "works", multiple=True, type=click.Choice(list(WORKLOADS)), help="[all]")
@click.option("--rounds", default=3, type=click.IntRange(1), help="How often to measure.  [3]")
@click.option("--quick", is_flag=True, help="Tiny sizes, one round, to see that all of it works.")
@click.option("--server", type=click.Choice(["redis", "valkey"]), default="redis", help="[redis]")
@click.option("--upgrade", is_flag=True, help="Bring every environment to the newest releases.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where the results go.")
def main(
    systems: Sequence[str],
    works: Sequence[str],
    rounds: int,
    quick: bool,
    server: str,
    upgrade: bool,
    file: Path | None,
) -> None:
    result = measure(
        [BY_NAME[name] for name in systems or BY_NAME],
        works or list(WORKLOADS),
        sizes=QUICK if quick else FULL,
        rounds=1 if quick else rounds,
        server=server,
        upgrade=upgrade,
        say=clock(),
    )
    leave({**result, "quick": quick}, file)


if __name__ == "__main__":
    sys.exit(main())
