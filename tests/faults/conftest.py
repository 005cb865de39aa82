"""One test for each fault of the catalogue in docs/reliability/faults.md, with real processes."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytask import PyTaskHelpers
from tests.acceptance.conftest import CLEANUP, FAST, MONITOR
from tests.support.cluster import Cluster
from tests.support.namespace import Namespace
from tests.support.topologies import Topology
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

__all__ = [
    "CLEANUP",
    "FAST",
    "MONITOR",
    "STEADY",
    "Launch",
    "Recovery",
    "of_state",
    "record_of",
    "state_of",
]

#: As FAST, for workers that must not lose a lease because the machine is busy.
STEADY: dict[str, Any] = {**FAST, "worker_timeout": 3.0, "redis_grace": 2.0}


PROGRAM = str(Path(__file__).with_name("program.py"))

Launch = Callable[..., WorkerProcess]


@pytest.fixture
def launch(worker_process: Any, topology: Topology, namespace: Namespace) -> Launch:
    """Start a worker and wait until it takes tasks: ``launch(MONITOR, concurrency=5)``.

    ``at`` is another address than that of the topology (a proxy, a server of the test's own),
    ``env`` is added to the environment, ``program`` is another program with the same arguments.
    """
    address = topology.address
    if topology.name == "rediscluster":
        assert isinstance(topology.deployment, Cluster)
        address = {"redis-py-cluster": topology.deployment.addresses}

    def start(
        *local_tasks: str,
        at: Any = None,
        wait: bool = True,
        program: str = PROGRAM,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> WorkerProcess:
        worker: WorkerProcess = worker_process(
            program,
            [
                json.dumps(address if at is None else at),
                {**namespace.options, **options},
                *local_tasks,
            ],
            **(env or {}),
        )
        if wait:
            worker.wait_for_line("takes tasks from")
        return worker

    return start


@pytest.fixture
def helpers(address: Any, namespace: Namespace) -> Iterator[Any]:
    """A client of the same namespace."""
    helpers = PyTaskHelpers(address, **namespace.options)
    yield helpers
    helpers.connector.close()


def record_of(helpers: Any, task_id: str) -> dict[str, str]:
    """Return the fields of a record; empty if there is none."""
    return dict(helpers.store.read_record(task_id))


def state_of(helpers: Any, task_id: str) -> str:
    """Return the state of a task."""
    return str(record_of(helpers, task_id).get("state"))


def of_state(helpers: Any, ids: list[str], state: str, timeout: float = 15.0) -> None:
    """Wait until all these tasks have a state."""

    def others() -> dict[str, str]:
        found = {one: state_of(helpers, one) for one in ids}
        return {one: other for one, other in found.items() if other != state}

    wait_until(lambda: not others(), timeout, lambda: f"{state}; but {others()}", interval=0.05)


class Recovery:
    """Measures how long something takes from now on: ``Recovery(2.5)`` and later ``check()``.

    On a machine that has more to do than processors to do it, the bound grows with its load.
    """

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._began_at = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began_at

    def check(self) -> None:
        """Assert that the bound has been kept."""
        seconds = self.seconds
        bound = self._bound * min(5.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
        assert seconds < bound, f"{seconds:.2f} s, not {bound:.2f} s"
