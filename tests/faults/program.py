"""The worker that these tests start: ``program.py ADDRESS OPTIONS [LOCAL TASK ...]``.

It knows the tasks of :mod:`tests.acceptance.program` and those of ``tests/faults/tasks.py``.
"""

# ruff: noqa: E402  (patching has to come before the imports below it)
from gevent import monkey

monkey.patch_all()

import json
import logging
import sys
from typing import Any

from pytask import Cleanup, Monitor, PyTask, Task
from tests.acceptance import program as acceptance
from tests.faults import tasks
from tests.support.clients import cluster_client
from tests.support.tell import tell


def task_classes() -> list[type[Task]]:
    """Return the tasks of both modules."""
    found = {
        value
        for module in (acceptance, tasks)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value is not Task
    }
    return sorted(found | {Monitor, Cleanup}, key=lambda one: str(one.NAME))


def main() -> None:
    address: Any = json.loads(sys.argv[1])
    if isinstance(address, list):
        address = [tuple(node) for node in address]
    elif isinstance(address, dict) and "redis-py-cluster" in address:
        # The client object itself cannot be passed to a process.
        address = cluster_client([tuple(node) for node in address["redis-py-cluster"]])
    app = PyTask(address, **json.loads(sys.argv[2]))
    app.add_tasks(*task_classes())
    for name in sys.argv[3:]:
        app.start_local_task(name)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    tell("ready", worker=app.worker_id)
    app.run()
    tell("returned")


if __name__ == "__main__":
    main()
