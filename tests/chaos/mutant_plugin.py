"""A pytest plugin: runs the tests against the mutant that ``PYTASK_MUTANT`` names."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def mutant() -> None:
    """Change the scripts of this process; imported late, because gevent patches first."""
    from .audit import mutate
    from .mutants import MUTANTS, mutation_of

    name = os.environ["PYTASK_MUTANT"]
    mutate(mutation_of(next(one for one in MUTANTS if one.name == name)))
