"""A back-end of a third party, from its installation to a task that ran on it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.namespace import Namespace
from tests.support.worker import ROOT, WorkerProcess

APP = """
from pytask import PyTask

app = PyTask("redis://127.0.0.1:1/0", serializer="msgpack")


@app.task(name="double")
def double(raw: bytes) -> bytes:
    return raw * 2
"""


def run(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a module of ours and return what it wrote."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=80,
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory with an app, where a package is installed that offers ``plain://``."""
    info = tmp_path / "plain-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pytask.backends]\nplain = tests.support.plain:connect\n"
    )
    (tmp_path / "jobs.py").write_text(APP)
    return tmp_path


def test_the_command_line_takes_the_scheme_of_an_installed_package(
    installed: Path, valkey_server: Any
) -> None:
    names = Namespace.fresh()
    host, port = valkey_server.address
    env = {f"PYTASK_{name.upper()}": str(value) for name, value in names.options.items()}
    env |= {"PYTASK_REDIS": f"plain://{host}:{port}", "PYTASK_APP": "jobs"}
    env["PYTHONPATH"] = os.pathsep.join([str(installed), str(ROOT)])
    worker = WorkerProcess("-m pytask", ["worker"], env)
    try:
        worker.wait_for_line(f"takes tasks from default at plain://{host}:{port}")
        words = ["pytask", "start", "double", "raw=eHk=", "--wait", "60", "--no-cleanup", "--json"]
        done = run(*words, cwd=installed, **env)
        assert done.returncode == 0, done.stderr + worker.output
        told = json.loads(done.stdout)
        assert (told["state"], told["output"]) == ("SUCCESS", "eHl4eQ==")
        status = json.loads(run("pytask", "status", "--json", cwd=installed, **env).stdout)
        assert (status["redis"], len(status["workers"])) == (f"plain://{host}:{port}", 1)
        assert worker.stop() == 0
    finally:
        worker.close()
        names.remove([valkey_server.client()])


@pytest.mark.slow
def test_its_author_runs_the_conformance_suite_from_the_command_line(
    installed: Path, valkey_server: Any
) -> None:
    host, port = valkey_server.address
    path = os.pathsep.join([str(installed), str(ROOT)])
    suite, only = "pytask.testing.conformance", "wait or token or script"
    # In a process without gevent, and away from our own settings of pytest.
    done = run(suite, f"plain://{host}:{port}", "-q", "-k", only, cwd=installed, PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and "failed" not in done.stdout
    assert run(suite, cwd=installed, PYTHONPATH=path).returncode != 0
