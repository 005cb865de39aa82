"""Random calls of the store, audited: short drills belong to every test run."""

import subprocess
import sys

import pytest

from .mutation_run import check_mutants
from .zones import ROOT


@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_random_calls_break_no_promise(seed):
    words = [sys.executable, "-m", "tests.chaos.drill_once", str(seed), "2000"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_mutant_still_fits_its_script():
    check_mutants()
