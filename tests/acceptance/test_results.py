"""A client that waits while workers die, and what it learns of failures."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytask import TaskCrashed
from tests.support.launch import CLEANUP, MONITOR, STEADY, Launch
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

pytestmark = pytest.mark.topologies("valkey")

PATIENCE = 60.0


@pytest.mark.slow
def test_a_client_gets_its_result_although_the_worker_is_killed(
    launch: Launch, helpers: Any
) -> None:
    victim = launch(MONITOR, **STEADY)
    future = helpers.submit("sleeper", {"seconds": 0.01, "first": 600}, watch=True)

    async def main() -> Any:
        waiting = asyncio.ensure_future(asyncio.wait_for(future, PATIENCE))
        while not [one for one in victim.events if one["event"] == "started"]:
            await asyncio.sleep(0.01)
        victim.kill()
        other = launch(MONITOR, **STEADY)
        assert await waiting == other.pid
        return helpers.get_task(future.id)["attempts"]

    assert asyncio.run(main()) == "2"


@pytest.mark.slow
def test_a_failure_is_explained_to_the_client_and_retried_from_the_command_line(
    launch: Launch, helpers: Any, namespace: Any, topology: Any, tmp_path: Path
) -> None:
    launch(MONITOR, CLEANUP, keep_results=600.0, **STEADY)
    told: list[Any] = []
    future = helpers.submit("sleeper", {"seconds": "x"}, callback=told.append)
    with pytest.raises(TaskCrashed) as caught:
        future.result(PATIENCE, raises=[TypeError])
    assert isinstance(caught.value, TypeError)
    assert caught.value.type == "builtins.TypeError"
    assert "in sleep_where_this_can_be_found" in (caught.value.remote_traceback or "")
    wait_until(lambda: told == [future])

    wait_until(lambda: [one.task_id for one in helpers.list_failed()] == [future.id])
    helpers.set_task(future.id, "data", {"seconds": 0.01})
    variables = {f"PYTASK_{name.upper()}": str(one) for name, one in namespace.options.items()}

    def run(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "pytask", *words],
            cwd=tmp_path,
            env={
                **os.environ,
                **variables,
                "PYTASK_REDIS": str(topology.address),
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            check=True,
            text=True,
        ).stdout

    (listed,) = map(json.loads, run("failed", "--json").splitlines())
    assert (listed["id"], listed["reason"].split(":")[0]) == (future.id, "TypeError")
    assert json.loads(run("failed", "--retry-all", "--yes", "--json")) == {"retried": 1}
    again = helpers.future(future.id)
    assert again.wait(PATIENCE) == "SUCCESS"
    wait_until(lambda: helpers.get_task(future.id).get("kept") == "1")
    assert isinstance(helpers.future(future.id).result(0), int)
    assert run("failed", "--json") == ""
