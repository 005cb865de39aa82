"""Workers as real processes, and a client beside them.

A ``conftest.py`` that imports the fixtures ``launch`` and ``helpers`` says with a fixture
``program`` which program is to be started.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytask import PyTaskHelpers

from .cluster import Cluster
from .namespace import Namespace
from .topologies import Topology
from .worker import WorkerProcess

MONITOR = "pytask/monitor"
CLEANUP = "pytask/cleanup"

#: Options under which a dead worker is noticed within some two seconds.
FAST: dict[str, Any] = {
    "beat_interval": 0.2,
    "worker_timeout": 2.0,
    "redis_grace": 1.2,
    "update_task_interval": 0.3,
}

#: As FAST, for workers that must not lose a lease because the machine is busy.
STEADY: dict[str, Any] = {**FAST, "worker_timeout": 4.0, "redis_grace": 3.0}

Launch = Callable[..., WorkerProcess]


@pytest.fixture
def launch(worker_process: Any, topology: Topology, namespace: Namespace, program: str) -> Launch:
    """Start a worker and wait until it takes tasks: ``launch(MONITOR, concurrency=5)``.

    ``at`` is another address than that of the topology (a proxy, a server of the test's own),
    ``env`` is added to the environment, ``program`` is another program with the same arguments.
    """
    address = topology.address
    if topology.name == "rediscluster":
        assert isinstance(topology.deployment, Cluster)
        address = {"redis-py-cluster": topology.deployment.addresses}
    usual_program = program

    def start(
        *local_tasks: str,
        at: Any = None,
        wait: bool = True,
        program: str = usual_program,
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


class Recovery:
    """Measures how long something takes from now on: ``Recovery(2.5)`` and later ``check()``.

    On a machine that has more to do than processors to do it, the bound grows with its load. In CI,
    where a machine may be slow for reasons that its load does not show, it is three times as much.
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
        least = 3.0 if os.environ.get("CI") else 1.0
        bound = self._bound * min(5.0, max(least, os.getloadavg()[0] / (os.cpu_count() or 1)))
        assert seconds < bound, f"{seconds:.2f} s, not {bound:.2f} s"
