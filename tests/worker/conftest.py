"""A worker inside the test process, on the topology and namespace of the test."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pytask import PyTask
from tests.support.namespace import Namespace
from tests.support.waiting import PATIENCE, wait_until


class LiveWorker:
    """An app whose ``run`` is under way in a greenlet of the test."""

    def __init__(self, app: PyTask) -> None:
        self.app = app
        self.helpers = app.helpers
        self._greenlet = gevent.spawn(self._run)
        wait_until(lambda: self._greenlet.dead or self._is_up(), message="the worker came up")

    def _run(self) -> int:
        try:
            self.app.run()
        except SystemExit as error:
            return int(error.code or 0)
        return 0

    def _is_up(self) -> bool:
        parts = self.app._supervisor and self.app._supervisor.parts
        return bool(parts and parts.control.ready and all(one.is_running for one in parts.waiters))

    @property
    def parts(self) -> Any:
        assert self.app._supervisor is not None
        return self.app._supervisor.parts

    @property
    def free_slots(self) -> int:
        """Those that no run has; a claim that travels with a wait holds some as long as that."""
        claiming = [*self.parts.claimers, *self.parts.waiters]
        return self.parts.table.slots.free + sum(one._claimant.reserved for one in claiming)

    def start(self, task: str, /, task_id: str | None = None, **data: Any) -> str:
        """Enqueue a task and return its ID."""
        return self.helpers.submit(task, data, task_id=task_id).id

    def record(self, task_id: str) -> dict[str, str]:
        return self.helpers.store.read_record(task_id)

    def output(self, task_id: str) -> Any:
        return json.loads(self.record(task_id)["output"])

    def wait_for(self, task_id: str, state: str) -> Any:
        """Wait until a task has that state and return its output, if any."""
        wait_until(
            lambda: self.record(task_id).get("state") == state,
            message=lambda: f"state {state}; the record is {self.record(task_id)}",
        )
        return json.loads(self.record(task_id).get("output", "null"))

    def run_task(self, task: str, /, **data: Any) -> tuple[str, Any]:
        """Run a task and return its final state and output."""
        task_id = self.start(task, **data)
        ended = ("STOPPED", "SUCCESS", "ERROR", "EXCEPTION", "REVOKED")
        wait_until(
            lambda: self.record(task_id).get("state") in ended,
            message=lambda: f"the end of {self.record(task_id)}",
        )
        return self.record(task_id)["state"], self.output(task_id)

    def stop(self, timeout: float = PATIENCE) -> int:
        """Ask for the end, wait for it and return the exit status."""
        self.app.stop()
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        self._greenlet.join(timeout)
        assert self._greenlet.dead, "the worker has not ended"
        return self._greenlet.get()

    def close(self) -> None:
        while not self._greenlet.dead:
            self.app.stop()
            self._greenlet.join(0.05)
        self.helpers.connector.close()


Serve = Callable[..., LiveWorker]


@pytest.fixture
def app(address: Any, namespace: Namespace) -> Iterator[Callable[..., PyTask]]:
    """Make apps: ``app(SomeTask, concurrency=2)``."""
    apps: list[PyTask] = []

    def make(*task_classes: type, at: Any = None, **options: Any) -> PyTask:
        one = PyTask(address if at is None else at, **{**namespace.options, **options})
        one.add_tasks(*task_classes)
        apps.append(one)
        return one

    yield make
    for one in apps:
        one.helpers.connector.close()


@pytest.fixture
def serve(app: Callable[..., PyTask]) -> Iterator[Serve]:
    """Run workers: ``serve(SomeTask, concurrency=2)``; what is no class is an option."""
    workers: list[LiveWorker] = []

    def start(*task_classes: type, prepare: Any = None, **options: Any) -> LiveWorker:
        one = app(*task_classes, **options)
        if prepare is not None:
            prepare(one)
        workers.append(LiveWorker(one))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()
