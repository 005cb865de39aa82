"""Runs all mutants and prints who noticed which: ``python -m tests.chaos.mutation_run``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from pytask import scripts

from .mutants import MUTANTS, Mutant, MutantGone, mutation_of
from .zones import ROOT

#: Drills a mutant gets before the script's own tests: seed and number of calls.
DRILLS = [(1, 1500), (2, 2500), (3, 4000)]


class Outcome(NamedTuple):
    """``caught_by`` is empty when nothing noticed."""

    mutant: Mutant
    caught_by: str
    how: str
    seconds: float


def check_mutants() -> None:
    """Make sure that every mutant still fits the scripts.

    Raises:
        MutantGone: One does not.
    """
    for mutant in MUTANTS:
        mutation_of(mutant)(mutant.path, scripts._read(mutant.path))


def run(mutant: Mutant) -> Outcome:
    """Find out who notices a mutant."""
    began = time.monotonic()
    for seed, steps in DRILLS:
        words = ["-m", "tests.chaos.drill_once", str(seed), str(steps), mutant.name]
        done = _python(words)
        if done.returncode != 0:
            return Outcome(mutant, "drill", _last_line(done.stdout), time.monotonic() - began)
    tests = sorted(str(one) for one in ROOT.glob(f"tests/store/test_{mutant.script}*.py"))
    if tests:
        plugin = ["-p", "tests.chaos.mutant_plugin", "-p", "no:cacheprovider"]
        words = ["-m", "pytest", "-q", "-x", "-m", "redis", *plugin, *tests]
        done = _python(words, PYTASK_MUTANT=mutant.name)
        if done.returncode == 1:
            failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
            how = failed[0].partition("::")[2].partition(" ")[0] if failed else ""
            return Outcome(mutant, "own tests", how, time.monotonic() - began)
        if done.returncode != 0:
            raise RuntimeError(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout}")
    return Outcome(mutant, "", "", time.monotonic() - began)


def _python(words: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line]
    return lines[-1][:100] if lines else "the drill crashed"


def main(words: list[str]) -> int:
    """Run the mutants whose name contains one of the words (all, if there are none)."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutation_run")
    parser.add_argument("names", nargs="*", help="parts of names")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", default="", help="file to write the table to, as JSON")
    choices = parser.parse_args(words)
    try:
        check_mutants()
    except MutantGone as error:
        sys.stdout.write(f"{error}\n")
        return 1
    for seed, steps in DRILLS:
        done = _python(["-m", "tests.chaos.drill_once", str(seed), str(steps)])
        if done.returncode != 0:
            sys.stdout.write(f"the drill finds something without any mutant:\n{done.stdout}")
            return 1
    chosen = [
        mutant
        for mutant in MUTANTS
        if not choices.names or any(name in mutant.name for name in choices.names)
    ]
    outcomes = []
    with ThreadPoolExecutor(choices.jobs) as pool:
        for outcome in pool.map(run, chosen):
            outcomes.append(outcome)
            who = outcome.caught_by or "NOBODY"
            sys.stdout.write(f"{who:10} {outcome.mutant.name:60} {outcome.how}\n")
            sys.stdout.flush()
    alive = [outcome for outcome in outcomes if not outcome.caught_by]
    sys.stdout.write(f"{len(outcomes)} mutants, {len(outcomes) - len(alive)} caught\n")
    if choices.keep:
        rows = [[one.mutant.name, one.caught_by, one.how] for one in outcomes]
        Path(choices.keep).write_text(json.dumps(rows, indent=1))
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
