"""The worker that these tests start: ``program.py ADDRESS OPTIONS [LOCAL TASK ...]``, as JSON.

It knows the tasks of :mod:`tests.acceptance.program` and :mod:`tests.faults.tasks`. A local task
may carry data: ``pytask/monitor={"task_timeout": 3}``. From the environment:

* ``CRASH_AT`` (``after_move``, ``after_claim``, ``before_finish``): kill ourselves there,
* ``NETWORK``: the network namespace to live in,
* ``LIMIT_FILES``, ``LIMIT_MEMORY``: descriptors, and bytes of address space beyond those in use.
"""

# ruff: noqa: E402  (patching has to come before the imports below it)
import os

from tests.support import netns

if "NETWORK" in os.environ:
    netns.enter(os.environ["NETWORK"])

from gevent import monkey

monkey.patch_all()

import json
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from pytask import Cleanup, Monitor, PyTask, Task
from pytask.worker.claimer import Claimer
from pytask.worker.finisher import Finisher
from pytask.worker.runner import Runner
from tests.acceptance import program as acceptance
from tests.faults import tasks
from tests.support.clients import read_address
from tests.support.tell import tell

#: The first line of pytask that is executed after each of these instants.
CRASH_POINTS: dict[str, tuple[type, str]] = {
    "after_move": (Claimer, "moved"),
    "after_claim": (Runner, "start"),
    "before_finish": (Finisher, "add"),
}


def crash_at(name: str) -> None:
    """Let this process be killed when it reaches a point of its work."""

    def die(*_: object) -> None:
        tell("crashing", at=name)
        os.kill(os.getpid(), signal.SIGKILL)

    owner, method = CRASH_POINTS[name]
    original = getattr(owner, method)

    def replacement(self: Any, *args: Any) -> Any:
        # Runner.start is also called with nothing claimed.
        if name != "after_claim" or args[0]:
            die()
        return original(self, *args)

    setattr(owner, method, replacement)


def limit_resources() -> None:
    """Set the limits that the environment asks for."""
    if files := os.environ.get("LIMIT_FILES"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), int(files)))
    if memory := os.environ.get("LIMIT_MEMORY"):
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = in_use + int(memory)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


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
    address = read_address(sys.argv[1])
    app = PyTask(address, **json.loads(sys.argv[2]))
    app.add_tasks(*task_classes())
    for word in sys.argv[3:]:
        name, _, data = word.partition("=")
        app.start_local_task(name, **json.loads(data or "{}"))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    limit_resources()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
    if point := os.environ.get("CRASH_AT"):
        crash_at(point)
    tell("ready", worker=app.worker_id)
    app.run()
    tell("returned")


if __name__ == "__main__":
    main()
