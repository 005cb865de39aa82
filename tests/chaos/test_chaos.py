"""Nothing is lost and nothing is done twice while everything around fails.

``pytest -m chaos tests/chaos``; CHAOS_SECONDS and CHAOS_SEED choose length and fault schedule.
"""

import os
import subprocess
import sys

import pytest

from tests.support import process

from .zones import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "90"))
SEED = os.environ.get("CHAOS_SEED")


def start(topology: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.chaos", "--topology", topology, "--seconds", f"{SECONDS}"]
    if SEED is not None:
        words += ["--seed", SEED]
    return process.spawn(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_neither_one_server_nor_a_cluster_loses_anything():
    """Side by side, for each waits most of the time; what is checked depends on no speed."""
    runs = [start(topology) for topology in ("single", "cluster")]
    try:
        told = [run.communicate()[0] for run in runs]
    finally:
        for run in runs:
            process.end(run)
    sys.stdout.write("\n".join(told))
    assert [run.returncode for run in runs] == [0, 0], "\n".join(told)


@pytest.mark.timeout(1800)
def test_every_mutant_of_a_script_is_noticed():
    words = [sys.executable, "-m", "tests.chaos.mutation_run"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
