"""Thread mode: ``start`` is executed by gevent's native thread pool.

For code that blocks where gevent cannot help: C libraries, file systems, drivers. A thread cannot
be ended from outside. A stop is therefore a request, which the code sees by ``should_stop()``, or
as ``StopTask`` out of whatever it asks the hub for: ``self.redis``, ``self.helpers``, ``self.emit``
and ``self.shell``. Code that does neither is abandoned like a greenlet that swallows its
interruptions: its outcome is ignored, and its thread is missing in the pool until it ends.
"""

from __future__ import annotations

import contextvars
import sys
import traceback
from contextlib import suppress
from functools import partial
from typing import Any

import gevent
from gevent import monkey
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from pytask.concurrency.door import Door, Ticket, outcome_of
from pytask.concurrency.making import make_instance
from pytask.concurrency.workplaces import Bound, HubPlace, ThreadPlace
from pytask.exceptions import StopTask
from pytask.http_clients import make_client
from pytask.worker.runs import Run

_get_ident = monkey.get_original("_thread", "get_ident")


class ThreadMode:
    """Executes tasks in a pool of native threads.

    Args:
        size: Threads of the pool; tasks beyond that wait for one.
        place: The environment of tasks in greenlets.
        door: The way from the threads into the hub.
    """

    def __init__(self, size: int, place: HubPlace, door: Door) -> None:
        self._place = place
        self._door = door
        self._pool = ThreadPool(size)
        self._free = BoundedSemaphore(size)
        self._idents: dict[Run, int] = {}
        self._clients: dict[int, Any] = {}

    def carry_out(self, run: Run, task_class: type[Any], data: dict[str, Any]) -> Any:
        bound = Bound(run)
        bound.environment = ThreadPlace(self._place, self._door, bound, self._client)
        instance = make_instance(task_class, bound, run.task, data, run)
        self._free.acquire()
        ticket = Ticket()
        work = partial(contextvars.copy_context().run, instance.start)
        try:
            run.enter()
            self._pool.spawn(self._main, run, work, ticket)
        except BaseException:
            self._free.release()
            raise
        return ticket.wait(lambda firmly: bound.interrupt_calls())

    def stack_of(self, run: Run) -> str:
        frame = sys._current_frames().get(self._idents.get(run, 0))
        return "".join(traceback.format_stack(frame)) if frame is not None else "(no frame)"

    def close(self) -> None:
        # Idle threads end; one that goes on does not keep the process alive.
        with gevent.Timeout(0.5, False):  # type: ignore[arg-type]
            self._pool.kill()
        for client in self._clients.values():
            with suppress(Exception):  # its thread may be using it
                client.close()
        self._clients.clear()

    def _main(self, run: Run, work: Any, ticket: Ticket) -> None:
        self._idents[run] = _get_ident()
        value, error = outcome_of(work)
        del self._idents[run]
        if isinstance(error, SystemExit) and run.stopping:
            error = StopTask()
        self._door.run_soon(self._ended, ticket, value, error)

    def _ended(self, ticket: Ticket, value: Any, error: BaseException | None) -> None:
        self._free.release()
        ticket.settle(value, error)

    def _client(self) -> Any:
        """Return the HTTP client of this thread: gevent's sockets belong to one thread."""
        ident = _get_ident()
        if ident not in self._clients:
            self._clients[ident] = make_client()
        return self._clients[ident]
