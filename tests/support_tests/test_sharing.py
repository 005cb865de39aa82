"""Tests split over processes run once each, and no failure or crash goes unseen."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.run import ROOT

PASSES = """
    import os, pathlib, pytest
    @pytest.mark.parametrize("number", range(20))
    def test_it(number):
        with (pathlib.Path(__file__).parent / "ran").open("a") as file:
            file.write(f"{__name__}-{number}\\n")
"""


@pytest.fixture
def share(tmp_path):
    """Run files of tests in two processes; return exit status and output."""

    def share(**files: str) -> tuple[int, str]:
        for name, source in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        # Not this project's settings and conftest: only the plugin under test.
        options = ["-c", "/dev/null", "-p", "no:valkey", "-p", "tests.support.sharing"]
        command = [sys.executable, "-m", "tests.support.run", "-n", "2", "--", *options]
        done = subprocess.run(
            [*command, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
        )
        return done.returncode, done.stdout

    return share


def last_line(output: str) -> str:
    return output.strip().splitlines()[-1]


def test_each_test_runs_once(share, tmp_path: Path):
    status, output = share(test_one=PASSES, test_two=PASSES)

    assert (status, " 40 passed in " in last_line(output)) == (0, True), output
    ran = (tmp_path / "ran").read_text().split()
    assert len(ran) == len(set(ran)) == 40


def test_a_failure_is_shown_and_counted(share):
    status, output = share(test_one=PASSES, test_two="def test_it():\n    assert 'dogs' == 'cats'")

    assert status == 1
    assert " 1 failed, 20 passed in " in last_line(output)
    assert "assert 'dogs' == 'cats'" in output
    again = next(line for line in output.splitlines() if line.startswith("Again, alone: "))
    assert again.endswith("test_two.py::test_it")


def test_a_process_that_dies_fails_the_run(share):
    status, output = share(test_one=PASSES, test_two="import os\ndef test_it():\n    os._exit(0)")

    assert status == 1
    assert "1 error in" in last_line(output)


def test_a_module_that_cannot_be_imported_fails_the_run(share):
    status, output = share(test_one=PASSES, test_two="import no_such_module")

    assert status == 1
    assert "no_such_module" in output


def test_a_long_run_tells_how_far_it_is(share, monkeypatch):
    monkeypatch.setenv("PYTASK_TEST_PROGRESS_EVERY", "0.3")
    status, output = share(test_one="import time\ndef test_it():\n    time.sleep(2)")

    assert status == 0
    assert "main: 0 of 1 tests; for " in output
    assert "test_one.py::test_it" in output
