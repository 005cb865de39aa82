"""The plug-ins of a worker: each a service that is told of tasks, and ticks.

Messages wait in a queue of bounded length, one for each plug-in. Who reports a task never waits for
a plug-in: when a queue is full, what comes is dropped and counted. The alternative would be that a
database that hangs stops all tasks.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gevent
from gevent import monkey
from greenlet import GreenletExit

from pytask.plugins import DONE, QUEUED, STARTED, GuardedPlugin, TaskSnapshot, queued_snapshot
from pytask.records import Claimed, NewTask, Outcome
from pytask.states import State
from pytask.worker.runs import Run
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

#: Messages that wait for one plug-in.
MOST_MESSAGES = 10_000
#: Seconds between two ticks.
TICK = 1.0
#: What a plug-in may say of a worker.
MOST_KEYS, MOST_CHARACTERS = 20, 200

_thread_id: Callable[[], int] = monkey.get_original("_thread", "get_ident")

#: An event, what it happened to, and how to make snapshots of that.
_Batch = tuple[str, Sequence[Any], Callable[[Any], TaskSnapshot]]


class PluginService(Service):
    """The life of one plug-in.

    Args:
        plugin: The plug-in.
        app: What its ``start`` is given.

    Attributes:
        details: What it says of the worker; replaced, never changed, as another thread reads it.
        dropped: Messages it never got.
    """

    name = "plug-in"

    def __init__(self, plugin: GuardedPlugin, app: Any) -> None:
        super().__init__()
        self.plugin = plugin
        self.plugin.caught = (*GuardedPlugin.caught, gevent.Timeout)
        self._app = app
        self._batches: deque[_Batch] = deque()
        self._waiting = 0
        self._has_started = False
        self._closing = False
        self._tick_due = 0.0
        self._home = _thread_id()
        self.dropped = 0
        self.details: Mapping[str, str] = {}

    def post(self, batch: _Batch) -> None:
        """Take messages, or drop them if too many wait; callable from any thread."""
        event, tasks, snapshot = batch
        room = max(0, MOST_MESSAGES - self._waiting)
        if len(tasks) > room:
            if not self.dropped:
                logger.error(
                    "plug-in %s does not keep up: %s messages wait for it, and what comes now is "
                    "dropped; `pytask status` counts it",
                    self.plugin.name,
                    self._waiting,
                )
            self.dropped += len(tasks) - room
            if not room:
                return
            tasks = tasks[:room]
        self._waiting += len(tasks)
        self._batches.append((event, tasks, snapshot))
        # Events of gevent belong to one thread; from another one, the next tick is soon enough.
        if self._resting and _thread_id() == self._home:
            self.wake()

    def finish(self) -> None:
        """Have it store what it was told, and close; does not wait."""
        self._closing = True
        self.wake()

    def run_once(self) -> None:
        """Store what has come, tick if it is time, wait for more."""
        if not self._has_started:
            self._has_started = True
            self.plugin.call("start", self._app)
        while self._batches and (self._closing or time.monotonic() < self._tick_due):
            self._store()
        if self._closing:
            self.plugin.call("close")
            raise GreenletExit
        if time.monotonic() >= self._tick_due:
            self.plugin.call("tick")
            self._ask()
            self._tick_due = time.monotonic() + TICK
        if not self._batches and not self._closing:
            self.pause(max(0.0, self._tick_due - time.monotonic()))

    def _store(self) -> None:
        event, tasks, snapshot = self._batches.popleft()
        try:
            self.plugin.store(event, map(snapshot, tasks))
        finally:
            # Another thread may have added at the same time: nothing waits when nothing is there.
            self._waiting = max(0, self._waiting - len(tasks)) if self._batches else 0
        # It may not wait by itself, and there may be much.
        gevent.sleep(0)

    def _ask(self) -> None:
        said: Any = self.plugin.call("info") or {}
        if self.dropped:
            said = {**said, "dropped": self.dropped} if isinstance(said, Mapping) else said
        try:
            details = {
                f"{self.plugin.name}.{key}": str(value)[:MOST_CHARACTERS]
                for key, value in list(said.items())[-MOST_KEYS:]
            }
        except Exception as error:
            self.plugin.note("info", error)
            return
        # The registry adds fields and never takes one away.
        self.details = {**dict.fromkeys(self.details, ""), **details}


class PluginServices:
    """All plug-ins of a worker.

    Args:
        services: One for each.
        worker: Our name in the registry.
    """

    def __init__(self, services: Sequence[PluginService], worker: str) -> None:
        self.services = services
        self._worker = worker
        self._listeners = [one for one in services if one.plugin.wants_messages]

    @classmethod
    def of(cls, plugins: Sequence[GuardedPlugin], app: Any, worker: str) -> PluginServices:
        """Make a service of each plug-in."""
        return cls([PluginService(one, app) for one in plugins], worker)

    @property
    def listener(self) -> PluginServices | None:
        """This, if any of them wants to be told of tasks."""
        return self if self._listeners else None

    def queued(self, tasks: Sequence[NewTask]) -> None:
        """Tell that tasks were queued from this process."""
        self._post((QUEUED, tasks, queued_snapshot))

    def started(self, claimed: Sequence[Claimed]) -> None:
        """Tell that tasks were claimed and start now."""
        self._post((STARTED, [task for task in claimed if not task.local], self._of_claimed))

    def done(self, ended: Iterable[tuple[Run, Outcome]]) -> None:
        """Tell of outcomes that Redis has taken; one that is tried again is queued."""
        done: list[tuple[Run, Outcome]] = []
        again: list[tuple[Run, Outcome]] = []
        for entry in ended:
            if not entry[0].is_local:
                (again if entry[1].state is State.RETRY else done).append(entry)
        self._post((DONE, done, self._of_outcome))
        self._post((QUEUED, again, self._of_outcome))

    def requeued(self, runs: Iterable[Run]) -> None:
        """Tell of runs that Redis has taken back."""
        self._post((QUEUED, [run for run in runs if not run.is_local], self._of_returned))

    def details(self) -> dict[str, str]:
        """Return what they say of this worker; called in another thread."""
        return {key: text for one in self.services for key, text in one.details.items()}

    def close(self, seconds: float) -> None:
        """Have all of them store what they were told and close.

        Args:
            seconds: That is how long they may take together.
        """
        for one in self.services:
            one.finish()
        deadline = time.monotonic() + seconds
        for one in self.services:
            if not one.join(max(0.0, deadline - time.monotonic())):
                logger.error("plug-in %s did not close in time and is left", one.plugin.name)
                one.kill()

    def _post(self, batch: _Batch) -> None:
        if batch[1]:
            for one in self._listeners:
                one.post(batch)

    def _of_claimed(self, task: Claimed) -> TaskSnapshot:
        return TaskSnapshot(
            task.task_id, task.task, State.RUNNING, None, self._worker, task.attempts, task.data
        )

    def _of_outcome(self, ended: tuple[Run, Outcome]) -> TaskSnapshot:
        run, outcome = ended
        return TaskSnapshot(
            run.task_id,
            run.task,
            outcome.state,
            None,
            self._worker,
            run.attempt,
            b"",
            outcome.output,
        )

    def _of_returned(self, run: Run) -> TaskSnapshot:
        return TaskSnapshot(run.task_id, run.task, State.WAIT, None, self._worker, run.attempt, b"")
