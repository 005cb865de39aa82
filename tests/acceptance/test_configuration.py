"""Workers configured by a file, recycled, and with the plug-in of the documentation."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import DOCS, read_blocks
from tests.support.namespace import Namespace
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

pytestmark = pytest.mark.topologies("valkey")


@pytest.fixture
def project(tmp_path: Path, address: str, namespace: Namespace, topology: Any) -> Path:
    """The app of the page on plug-ins, with a configuration file beside it."""
    (program,) = [
        block.text
        for block in read_blocks(DOCS / "howto" / "plugins.md")
        if block.text.startswith("# audited.py")
    ]
    program = program.replace('"audit.log"', repr(str(tmp_path / "audit.log")))
    (tmp_path / "audited.py").write_text(program)
    said = {
        **namespace.options,
        "app": "audited",
        "redis": topology.deployment.url,
        "processes": 2,
        "max_tasks": 20,
        "drain_timeout": 20,
        "beat_interval": 0.2,
    }
    lines = [f"{name} = {value!r}" for name, value in said.items()]
    (tmp_path / "pytask.toml").write_text("\n".join(lines))
    return tmp_path


def pytask(project: Path, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytask", *words],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_workers_of_a_file_are_recycled_lose_nothing_and_are_audited(
    project: Path, worker_process: Any, helpers: Any, namespace: Namespace
) -> None:
    workers = worker_process(
        "-m pytask",
        ["worker"],
        PYTASK_CONFIG=str(project / "pytask.toml"),
        PYTHONPATH=str(project),
    )
    ids = helpers.start_tasks(
        {"task": "add", "data": {"a": 1, "b": number}, "cleanup": False} for number in range(100)
    )
    wait_until(
        lambda: all(helpers.get_task(one).get("state") == "SUCCESS" for one in ids),
        message=lambda: workers.output,
    )
    workers.wait_for_line("has run max_tasks tasks; a new one follows")
    log = project / "audit.log"
    wait_until(
        lambda: all(log.read_text().count(f"done {one} add SUCCESS\n") == 1 for one in ids),
        message=lambda: log.read_text(),
    )
    queued = pytask(project, "start", "add", "a:=1", "b:=1", "-A", "audited", "--wait", "30")[0]
    assert queued
    wait_until(lambda: "queued " in log.read_text())
    wait_until(lambda: any("audit.saved=" in line for line in pytask(project, "status")))
    assert workers.stop() == 0
