"""Somebody's project with tasks, its tests, and a plain run of pytest."""

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import indent

import pytest

from tests.docs.blocks import DOCS, read_blocks
from tests.support.process import bare_environment
from tests.support.worker import ROOT

PROGRAM = """
import time
from pytask import PyTask

app = PyTask("redis://127.0.0.1:1/0")

@app.task(queue="mail")
def send(to: str) -> str:
    time.sleep(0.01)
    return to
"""

TESTS = """
import pytest
from program import app, send

seen = []

@pytest.fixture
def jobs(pytask_isolate):
    return pytask_isolate(app, queues=("default", "mail"))

@pytest.mark.parametrize("number", range(3))
def test_own_app(jobs, run_until_idle, fake_clock, number, pytask_server):
    assert jobs is app
    assert jobs.helpers.next_scheduled() == {}
    future = send.options(delay=3600, task_id="mail-1").submit("a@b.c")
    fake_clock.advance(3600)
    run_until_idle(jobs)
    assert future.result() == "a@b.c"
    seen.append((pytask_server, app.settings.task_set))

def test_one_server_and_a_namespace_each(pytask_server, pytask_app):
    assert {server for server, _ in seen} == {pytask_server}
    assert len({name for _, name in seen}) == 3
    assert app.settings.task_set == "tasks"
    assert pytask_server.client.keys("*") == []
    assert pytask_app.settings.task_set != "tasks"
"""


def run_pytest(directory: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Run pytest; the plug-in is named where it is not installed."""
    names = {one.name for one in entry_points(group="pytest11")}
    plugin = [] if "pytask" in names else ["-p", "pytask.testing.plugin"]
    path = os.pathsep.join([str(ROOT), str(directory)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, *words],
        cwd=directory,
        env={**bare_environment(), "PYTHONPATH": path, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=80,
    )
    return done.returncode, done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an app, and tests of it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "test_program.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = -p pytask.testing.patch\nfilterwarnings = error\n"
    )
    return tmp_path


@pytest.mark.slow
def test_a_plain_run_of_pytest_tests_an_app_without_redis(project: Path) -> None:
    code, output = run_pytest(project)
    assert code == 0, output
    assert "4 passed" in output


MANUAL_PROJECT = """
from pytask import PyTask

app = PyTask("redis://127.0.0.1:1/0")
tried = []

@app.task(max_retries=1, retry_delay=600)
def send(to):
    tried.append(to)
    if tried.count("nobody@b.c") == 1:
        raise LookupError(to)
    return 1
"""


@pytest.mark.slow
def test_the_examples_of_the_manual_work(tmp_path: Path) -> None:
    blocks = read_blocks(DOCS / "howto" / "test-your-tasks.md")
    (configuration,) = [one.text for one in blocks if one.language == "ini"]
    *tests, program = [one.text for one in blocks if one.language == "python"]
    (tmp_path / "pytest.ini").write_text(configuration)
    (tmp_path / "myproject.py").write_text(MANUAL_PROJECT)
    (tmp_path / "test_manual.py").write_text("\n".join(tests))
    (tmp_path / "test_without.py").write_text(f"def test_program():\n{indent(program, '    ')}")
    code, output = run_pytest(tmp_path, "test_without.py", "test_manual.py")
    assert code == 0, output
    assert "3 passed" in output


@pytest.mark.slow
def test_without_the_patch_it_is_told_how_to_have_it(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\n")
    code, output = run_pytest(project, "-k", "own_app and 0")
    assert code == 1
    assert "addopts = -p pytask.testing.patch" in output


@pytest.mark.slow
def test_the_tests_of_the_example_pass() -> None:
    code, output = run_pytest(ROOT, "examples")
    assert code == 0, output
    assert re.search(r"\b5 passed", output)
