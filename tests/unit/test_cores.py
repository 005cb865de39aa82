"""cores: a number of tasks computed from what the machine has."""

import os

import pytest

from pytask.cores import available_cores, read_concurrency
from pytask.exceptions import ConfigurationError
from pytask.settings import Settings

CORES = available_cores()


def test_a_number_is_taken_as_it_is():
    assert read_concurrency(7, 3) == 7


@pytest.mark.parametrize(("given", "per_core"), [("auto", 1000), ("300/core", 300)])
def test_so_many_for_each_core_are_shared_out_among_the_processes(given, per_core):
    assert read_concurrency(given) == per_core * CORES
    assert Settings(concurrency=given, processes=CORES).concurrency == per_core  # type: ignore[arg-type]


def test_every_process_gets_one_at_least():
    assert read_concurrency("1/core", 1000) == 1


def test_a_function_is_given_the_cores():
    assert read_concurrency(lambda cores: cores * 10) == 10 * CORES


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("many", "a whole number is needed, 'N/core' or 'auto'"),
        ("-1/core", "a whole number is needed"),
        (lambda cores: cores / 0, "failed with ZeroDivisionError"),
        (lambda cores: "5", "returned '5': a whole number is needed"),
        ("0/core", "concurrency=0 is out of range"),
    ],
)
def test_anything_else_is_refused(given, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        Settings.of({"concurrency": given})


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("50000 100000\n", 1), ("max 100000\n", None), ("100000000 100000\n", None), ("?", None)],
)
def test_the_quota_of_a_container_counts(tmp_path, quota, cores):
    (tmp_path / "cpu.max").write_text(quota)
    expected = len(os.sched_getaffinity(0)) if cores is None else cores
    assert available_cores(tmp_path / "cpu.max") == expected
