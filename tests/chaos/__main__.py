"""``python -m tests.chaos``: run chaos and check what came of it."""

from __future__ import annotations

import argparse
import secrets
import sys

from .options import FAST, Options
from .result import Result, say
from .run import Run


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay the fault schedule of this seed")
    parser.add_argument("--topology", default="single", choices=["single", "sentinel", "cluster"])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are injected")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--server", default="redis", choices=["redis", "valkey"])
    parser.add_argument("--pause", type=float, default=0.45, help="mean seconds between two faults")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--producers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=250.0, help="tasks per second and producer")
    parser.add_argument("--backlog", type=int, default=3000, help="waiting tasks at most")
    parser.add_argument("--only", action="append", default=[], help="a fault; may be repeated")
    parser.add_argument("--appendfsync", default="everysec", choices=["everysec", "no", "always"])
    parser.add_argument("--keep", default="", help="directory to keep a summary of the run in")
    parser.add_argument("--lax", action="store_true", help="accept a run that exercised little")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Run and report; return the exit status."""
    choices = parse(words)
    seed = choices.seed if choices.seed is not None else secrets.randbelow(1_000_000)
    options = Options(
        seed=seed,
        topology=choices.topology,
        seconds=choices.minutes * 60 if choices.minutes else choices.seconds,
        server=choices.server,
        pause=choices.pause,
        workers=choices.workers,
        producers=choices.producers,
        rate=choices.rate,
        backlog=choices.backlog,
        only=choices.only,
        settings=dict(FAST),
        keep=choices.keep,
        strict=not choices.lax,
        appendfsync=choices.appendfsync,
    )
    say(
        f"chaos on {options.topology} ({options.server}) for {options.seconds:g} s; replay with: "
        f"python -m tests.chaos --seed {seed} --topology {options.topology} "
        f"--server {options.server} --seconds {options.seconds:g} --pause {options.pause:g} "
        f"--appendfsync {options.appendfsync}"
    )
    result = Run(options).execute()
    tell(result)
    return 0 if result.passed else 1


def tell(result: Result) -> None:
    """Print the outcome."""
    say(f"faults: {result.faults.total()} of {len(result.faults)} kinds")
    for name, count in sorted(result.faults.items()):
        say(f"  {count:4} {name}")
    for name, count in sorted(result.skipped.items()):
        say(f"  {count:4} not possible: {name}")
    for name, reason in sorted(result.absent.items()):
        say(f"no faults that need a {name}: {reason}")
    for name, value in sorted(result.verdict.numbers.items()):
        say(f"{name}: {value}")
    for name, seconds in sorted(result.measures.items()):
        say(f"{name}: {seconds:.2f}")
    for rule, count in sorted(result.verdict.by_rule().items()):
        say(f"VIOLATED {rule}: {count} times")
    for violation in result.verdict.violations[:30]:
        say(f"  {violation}")
    for problem in result.problems:
        say(f"PROBLEM {problem}")
    say("passed" if result.passed else f"FAILED, seed {result.options.seed}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
