"""Tasks that are bound to this worker: never queued, removed with it, started again when lost."""

from __future__ import annotations

import logging
import secrets
import time
from typing import NamedTuple

import gevent
from gevent.event import Event
from gevent.pool import Group

from pytask.concurrency.interrupt import end_here
from pytask.exceptions import LeaseLost, RedisError
from pytask.records import new_task_id
from pytask.store import Store
from pytask.worker.runner import Runner
from pytask.worker.runs import Run

logger = logging.getLogger(__name__)

#: Seconds after which another ID is tried: the shard that would keep the record may be gone, while
#: those of other IDs work. Should the record have been written unheard, its lease runs out.
ELSEWHERE = 1.0


class LocalTask(NamedTuple):
    """A request; ``data`` is JSON."""

    task: str
    data: bytes


class LocalTasks:
    """Starts local tasks, and starts them again under a new ID when Redis lost or dropped them.

    Args:
        store: Where their records go.
        worker: Our name there.
        gate: Closed while Redis is in trouble.
    """

    def __init__(self, store: Store, worker: str, gate: Event) -> None:
        self._store = store.patient(0)
        self._worker = worker
        self._gate = gate
        self._runner: Runner
        self._requested: list[LocalTask] = []
        self._starting = Group()
        self._is_open = False

    def wire(self, runner: Runner) -> None:
        """Name the runner, which reports lost tasks here and so is made after this."""
        self._runner = runner

    def add(self, task: str, data: bytes) -> None:
        """Start a task now, or when the worker starts."""
        request = LocalTask(task, data)
        if self._is_open:
            self._starting.spawn(self._start, request)
        else:
            self._requested.append(request)

    def start(self) -> None:
        """Start what was requested so far; does not wait."""
        self._is_open = True
        while self._requested:
            self._starting.spawn(self._start, self._requested.pop(0))

    def stop(self) -> None:
        """Start nothing any more."""
        self._is_open = False
        self._starting.kill(block=False)

    def fall_silent(self) -> None:
        """Start nothing any more: this is the copy of a worker in a forked child."""
        self._is_open = False
        for greenlet in list(self._starting):
            end_here(greenlet)

    def lost(self, run: Run) -> None:
        """Start a local task again that Redis does not know any more."""
        if self._is_open:
            logger.info("local task %s (%s) is started again", run.task_id, run.task)
            self._starting.spawn(self._start, LocalTask(run.task, run.data))

    def _start(self, request: LocalTask) -> None:
        task_id, token = new_task_id(), f"1-{secrets.token_hex(8)}"
        pause = 0.05
        began_at = time.monotonic()
        while True:
            self._gate.wait()
            sent_at = time.monotonic()
            try:
                claimed = self._store.start_local(
                    task_id, request.task, request.data, self._worker, token
                )
            except LeaseLost:
                task_id = new_task_id()
            except RedisError as error:
                logger.debug("local task %s not started: %s; trying again", request.task, error)
                gevent.sleep(pause)
                pause = min(1.0, pause * 2)
                if time.monotonic() - began_at > ELSEWHERE:
                    task_id = new_task_id()
            else:
                self._runner.start([claimed], self._store.partition_of(task_id), sent_at)
                return
