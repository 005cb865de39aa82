"""Nothing is lost and nothing is done twice while everything around fails.

``pytest -m chaos tests/chaos``; CHAOS_SECONDS and CHAOS_SEED choose length and fault schedule.
"""

import os
import subprocess
import sys

import pytest

from .zones import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "90"))
SEED = os.environ.get("CHAOS_SEED")


def run(topology: str) -> None:
    words = [sys.executable, "-m", "tests.chaos", "--topology", topology, "--seconds", f"{SECONDS}"]
    if SEED is not None:
        words += ["--seed", SEED]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_server_loses_nothing():
    run("single")


def test_a_cluster_loses_nothing():
    run("cluster")


@pytest.mark.timeout(1800)
def test_every_mutant_of_a_script_is_noticed():
    words = [sys.executable, "-m", "tests.chaos.mutation_run"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
