"""Workers as real processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytask import PyTaskHelpers
from tests.support.cluster import Cluster
from tests.support.namespace import Namespace
from tests.support.topologies import Topology
from tests.support.worker import WorkerProcess

PROGRAM = str(Path(__file__).with_name("program.py"))

MONITOR = "pytask/monitor"
CLEANUP = "pytask/cleanup"

#: Options under which a dead worker is noticed within about a second.
FAST: dict[str, Any] = {
    "beat_interval": 0.2,
    "worker_timeout": 1.0,
    "redis_grace": 0.6,
    "update_task_interval": 0.3,
}

Launch = Callable[..., WorkerProcess]


@pytest.fixture
def launch(worker_process: Any, topology: Topology, namespace: Namespace) -> Launch:
    """Start a worker and wait until it takes tasks: ``launch(MONITOR, concurrency=5)``."""

    address = topology.address
    if topology.name == "rediscluster":
        assert isinstance(topology.deployment, Cluster)
        address = {"redis-py-cluster": topology.deployment.addresses}

    def start(
        *local_tasks: str, at: Any = None, wait: bool = True, **options: Any
    ) -> WorkerProcess:
        worker: WorkerProcess = worker_process(
            PROGRAM,
            [
                json.dumps(address if at is None else at),
                {**namespace.options, **options},
                *local_tasks,
            ],
        )
        if wait:
            worker.wait_for_line("takes tasks from")
        return worker

    return start


@pytest.fixture
def helpers(address: Any, namespace: Namespace) -> Any:
    """A client of the same namespace."""
    helpers = PyTaskHelpers(address, **namespace.options)
    yield helpers
    helpers.connector.close()
