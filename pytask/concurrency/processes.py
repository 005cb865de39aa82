"""Process mode: ``start`` is executed by a pool of child processes.

For code that computes: it has an interpreter of its own, so it neither blocks the hub nor shares
the worker's interpreter lock. The class is imported there and its instance made there; data, output
and errors travel as in Redis, nothing is pickled. A child that dies takes one task with it.
"""

from __future__ import annotations

from typing import Any

import gevent
from gevent.lock import BoundedSemaphore

from pytask.concurrency.child_pool import ChildProcess
from pytask.concurrency.workplaces import Bound, HubPlace
from pytask.exceptions import ChildDied, StopTask
from pytask.serializers import decode_value
from pytask.settings import Settings
from pytask.worker.runs import Run

#: Seconds the end of a worker waits for its children.
_CLOSING = 2.0


class ProcessMode:
    """Executes tasks in a pool of child processes.

    Args:
        size: Most children; tasks beyond that wait for one.
        place: The environment of tasks in greenlets.
        settings: The form of outputs, and their bound.
    """

    def __init__(self, size: int, place: HubPlace, settings: Settings) -> None:
        self._place = place
        self._settings = settings
        self._free = BoundedSemaphore(size)
        self._idle: list[ChildProcess] = []
        self._all: set[ChildProcess] = set()

    def carry_out(self, run: Run, task_class: type[Any], data: dict[str, Any]) -> Any:
        bound = Bound(run)
        bound.environment = self._place
        task = {
            "module": task_class.__module__,
            "class": task_class.__qualname__,
            "task": run.task,
            "id": run.task_id,
            "token": run.token,
            "attempt": run.attempt,
            "data": data,
            "serializer": self._settings.serializer,
            "max_output": self._settings.max_output_bytes,
        }
        with self._free:
            child = run.instance = self._take()
            try:
                run.enter()
                ticket = child.execute(task, bound)
                return decode_value(ticket.wait(child.interrupt))
            except ChildDied:
                if run.stopping:
                    raise StopTask from None
                raise
            finally:
                run.leave()
                try:
                    if run.stop_greenlet is not None:
                        # The child executes it, and must not be taken for the next task until then.
                        run.stop_greenlet.join()
                finally:
                    self._give_back(child)

    def stack_of(self, run: Run) -> str:
        child = run.instance
        return f"(in child process {child.pid})" if child is not None else "(no frame)"

    def close(self) -> None:
        for child in self._all:
            child.dismiss()
        gevent.joinall([gevent.spawn(child.wait, _CLOSING / 2) for child in list(self._all)])
        self._all.clear()
        self._idle.clear()

    def fall_silent(self) -> None:
        """Leave the children alone: this is a forked copy of the worker."""
        for child in list(self._all):
            child.fall_silent()

    def _take(self) -> ChildProcess:
        while self._idle:
            child = self._idle.pop()
            if child.is_usable:
                return child
            child.dismiss()
        child = ChildProcess(self._all.discard)
        self._all.add(child)
        return child

    def _give_back(self, child: ChildProcess) -> None:
        child.release()
        if child.is_usable:
            self._idle.append(child)
        else:
            child.dismiss()
