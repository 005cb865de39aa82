"""The command line: ``python -m benchmarks --help``."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

import click
from rich.console import Console

from . import drain, enqueue, idle, latency, monitor, plugins, sleepers, startup
from .harness import Bench, Metrics
from .report import environment, table

BENCHMARKS: dict[str, Callable[[Bench, Metrics], None]] = {
    "startup": startup.measure,
    "idle": idle.measure,
    "latency": latency.measure,
    "enqueue": enqueue.measure,
    "drain": drain.measure,
    "sleepers": sleepers.measure,
    "monitor": monitor.measure,
    "plugins": plugins.measure,
}


@click.command(help="Measure; without names, everything: about three minutes.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "file", type=click.File("w"), help="Write the results there as JSON.")
@click.option("--quick", is_flag=True, help="Tiny sizes, to see that all of it works.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="How often to measure.  [3]")
@click.option(
    "--server",
    type=click.Choice(["valkey", "redis"]),
    default="valkey",
    help="The server beside it; redis has to be installed.  [valkey]",
)
def main(names: Sequence[str], file: IO[str] | None, quick: bool, rounds: int, server: str) -> None:
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        raise click.UsageError(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    console = Console(stderr=True)
    results: dict[str, Metrics] = {}
    bench = Bench(server, quick, rounds, lambda text: console.print(f"  {text}", style="dim"))
    with bench.place() as place:
        surroundings = environment(server, _version_of(place.server.info("server")))
    for name in names or BENCHMARKS:
        console.print(name)
        began_at = time.monotonic()
        results[name] = Metrics()
        BENCHMARKS[name](bench, results[name])
        console.print(f"  {time.monotonic() - began_at:.1f} s", style="dim")
    machine = surroundings["machine"]
    caption = (
        f"{surroundings['server']}, Python {surroundings['python']}, {machine['cores']} cores, "
        # Whoever else uses the machine is in the numbers.
        f"load {machine['load']:.1f} before and {os.getloadavg()[0]:.1f} after"
    )
    # As wide as the table is, also where the output is no terminal.
    Console(width=None if sys.stdout.isatty() else 120).print(table(results, caption))
    if file is not None:
        metrics = {
            name: [metric.as_json() for metric in found.all.values()]
            for name, found in results.items()
        }
        json.dump({**surroundings, "quick": quick, "results": metrics}, file, indent=2)
        file.write("\n")


def _version_of(info: dict[str, Any]) -> str:
    return str(info.get("valkey_version") or info["redis_version"])


if __name__ == "__main__":
    sys.exit(main())
