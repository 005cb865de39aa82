"""Runs one drill on a server of its own.

Usage: python -m tests.chaos.drill_once SEED STEPS [MUTANT]

Exit status 1: promises were broken; 2: a script failed.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.support.servers import Server

from . import audit
from .mutants import MUTANTS, mutation_of


def main(words: list[str]) -> int:
    seed, steps = int(words[0]), int(words[1])
    mutant = next((one for one in MUTANTS if one.name == words[2]), None) if words[2:] else None
    audit.install(mutation_of(mutant) if mutant is not None else None)
    # After the scripts were changed.
    from pytask.exceptions import PyTaskException

    from .admin import dump_of
    from .drill import run_drill

    with Server("redis") as server:
        from pytask.connection import connect

        link = connect(server.url).link()
        try:
            verdict = run_drill(link, seed, steps, lambda: dump_of(link))
        except PyTaskException as error:
            sys.stdout.write(f"{type(error).__name__}: {error}\n")
            return 2
    for violation in verdict.violations[:20]:
        sys.stdout.write(f"{violation}\n")
    explained = {violation.task_id for violation in verdict.violations[:3]}
    for entry in [entry for entry in verdict.audit if entry["i"] in explained][-60:]:
        sys.stdout.write(f"{entry}\n")
    rules = Counter(violation.rule for violation in verdict.violations)
    sys.stdout.write(" ".join(f"{rule}:{count}" for rule, count in sorted(rules.items())) + "\n")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
