"""The part of the helpers that listens: for futures, and to the events of the fleet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from pytask.listening import Callback, Listener, Notice, compile_events, iterate
from pytask.threads import home
from pytask.waiting import Waiters
from pytask.watches import Watch

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers


class Following:
    """Hears of tasks and workers."""

    def _begin_following(self) -> None:
        self._waiters: dict[tuple[int, int], Waiters] = {}
        self._listeners: dict[str, Listener] = {}
        self._following_lock = threading.Lock()
        self._is_over = threading.Event()

    def _end_following(self) -> None:
        with self._following_lock:
            waiters, self._waiters = self._waiters, {}
            listeners, self._listeners = self._listeners, {}
            is_over, self._is_over = self._is_over, threading.Event()
        is_over.set()
        for waiting in waiters.values():
            waiting.close()
        for listener in listeners.values():
            listener.close()

    def waiting_for(self, task_id: str) -> tuple[Waiters, Watch]:
        """Return the listener of this process that waits for tasks, and what it knows of one.

        Args:
            task_id: The task.
        """
        place = home()
        while True:
            with self._following_lock:
                waiters = self._waiters.get(place)
                if waiters is None or waiters.is_closed:
                    waiters = self._waiters[place] = Waiters(self._whole)
            watch = waiters.watch(task_id)
            if watch is not None:
                return waiters, watch

    @property
    def _whole(self) -> PyTaskHelpers:
        return cast("PyTaskHelpers", self)

    def on_events(self, kind: str, event_re: str, callback: Callback) -> None:
        """Call a function for each event of a task, or of a worker, from now on.

        Events of tasks are ``queued``, ``started``, ``retry``, ``requeued``, ``reloaded``, the ends
        ``success``, ``error``, ``exception``, ``revoked`` and ``stopped``, each of which is
        ``done`` as well, ``removed``, and what tasks emit; those of workers are ``up`` and
        ``down``. After an interrupted connection there is an event ``gap`` without an ID: some may
        have been missed. It too comes only if the regular expression matches it.

        The function is called with the channel, the event, and a :class:`~pytask.Notice`, which has
        the record as it is by then. The calls come from one thread for each kind, or from a
        greenlet where gevent has patched threads, one after the other; what they raise is logged.
        A function that takes longer than events take to come makes the server drop the connection:
        that is a gap.

        Args:
            kind: ``"task"`` or ``"worker"``.
            event_re: A regular expression for the whole name of the event: ``"queued|started"``.
            callback: Called as ``callback(channel, event, notice)``.

        Raises:
            ValueError: There is no such kind, or the regular expression is none.
            WaitTimeout: Redis did not confirm the subscription within ``redis_patience``.
        """
        compile_events(event_re)
        with self._following_lock:
            listener = self._listeners.get(kind)
            if listener is None:
                listener = self._listeners[kind] = Listener(self._whole, kind)
            listener.add(event_re, callback)
        try:
            listener.wait_ready(self._whole.settings.redis_patience)
        except BaseException:
            self.remove_event_callback(kind, event_re, callback)
            raise

    def remove_event_callback(self, kind: str, event_re: str, callback: Callback) -> None:
        """Call a function no more; what was never added does no harm.

        Args:
            kind: As it was given to :meth:`on_events`.
            event_re: The same text.
            callback: The same function.
        """
        with self._following_lock:
            listener = self._listeners.get(kind)
            if listener is None or not listener.remove(event_re, callback):
                return
            del self._listeners[kind]
        listener.close()

    def events(
        self, kind: str = "task", event_re: str = ".*", timeout: float | None = None
    ) -> Iterator[Notice]:
        """Yield what happens to tasks, or workers, from the moment this is called.

        It stops when the helpers are closed. See :meth:`on_events` for the events there are.

        Args:
            kind: ``"task"`` or ``"worker"``.
            event_re: A regular expression for the whole name of the event.
            timeout: Seconds without such an event after which it stops; None: never.

        Raises:
            ValueError: There is no such kind, or the regular expression is none.
            WaitTimeout: Redis did not confirm the subscription within ``redis_patience``.
        """
        return iterate(self._whole, kind, event_re, timeout, self._is_over.is_set)
