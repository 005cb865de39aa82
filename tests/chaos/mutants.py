"""Mutants of the scripts: each lacks one guard, and something must notice.

A mutant is first thrown at drills (random calls, checked by the same checker as chaos runs); if
those let it live, the script's own tests run against it. ``make chaos-mutants`` does that for
all of them and prints a table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .mutants_of_clients import CLIENT_MUTANTS
from .mutants_of_owners import OWNER_MUTANTS
from .mutants_of_permits import PERMIT_MUTANTS
from .mutants_of_queues import QUEUE_MUTANTS
from .mutants_of_results import RESULT_MUTANTS
from .mutants_of_upkeep import UPKEEP_MUTANTS


class Mutant(NamedTuple):
    """One guard taken away.

    Attributes:
        name: Script and guard.
        path: The file below ``pytask/lua``.
        old: The text that is replaced; it stands in the file exactly once.
        new: What stands there instead.
    """

    name: str
    path: str
    old: str
    new: str

    @property
    def script(self) -> str:
        """The script it is about; of an include, one that uses it."""
        return self.name.partition(":")[0]


MUTANTS = [
    Mutant(f"{script}: {guard}", path, old, new)
    for script, guard, path, old, new in (
        *OWNER_MUTANTS,
        *CLIENT_MUTANTS,
        *UPKEEP_MUTANTS,
        *PERMIT_MUTANTS,
        *QUEUE_MUTANTS,
        *RESULT_MUTANTS,
    )
]


class MutantGone(Exception):
    """The text a mutant replaces is not in the script any more: the mutant has to be adapted."""


def mutation_of(mutant: Mutant) -> Callable[[str, str], str]:
    """Return the change of the script files that makes this mutant."""

    def mutate(path: str, text: str) -> str:
        if path != mutant.path:
            return text
        if text.count(mutant.old) != 1:
            raise MutantGone(
                f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {path}"
            )
        return text.replace(mutant.old, mutant.new)

    return mutate
