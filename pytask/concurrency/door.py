"""The one way from other threads into the hub.

gevent's sockets, locks and clients belong to the thread that made them. So whatever code in another
thread wants of Redis, or of a command, is done by a greenlet of the hub on its behalf. Requests go
into a deque, and an ``async_`` watcher wakes the hub: many requests, one wake-up.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import Greenlet, get_hub, getcurrent, monkey
from greenlet import GreenletExit

from pytask.concurrency.interrupt import end_here
from pytask.exceptions import StopTask

logger = logging.getLogger(__name__)

_get_ident = monkey.get_original("_thread", "get_ident")
_new_lock = monkey.get_original("_thread", "allocate_lock")


class Door:
    """Takes requests of other threads; made and closed in the thread of the hub."""

    def __init__(self) -> None:
        self._ident = _get_ident()
        self._requests: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._watcher = get_hub().loop.async_()
        self._watcher.start(self._on_requests)
        self._is_woken = False
        self._waiting: set[_Answer] = set()
        self._greenlets: set[Greenlet[..., Any]] = set()
        self._closed = False

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the thread of the hub."""
        return bool(_get_ident() == self._ident)

    def run_soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Have the hub call a function that does not wait; safe from any thread."""
        self._requests.append((function, args))
        if not self._is_woken and not self._closed:
            self._is_woken = True
            self._watcher.send()

    def call(self, function: Callable[[], Any], begun: Callable[[Greenlet[..., Any]], None]) -> Any:
        """Have a greenlet of the hub call a function, and wait for it in this thread.

        Args:
            function: May wait, as greenlets do.
            begun: Given the greenlet, in the hub; whoever kills it ends the wait.

        Raises:
            StopTask: The greenlet was killed, or the worker has ended.
            BaseException: What ``function`` raised.
        """
        if self.is_here:
            return function()
        answer = _Answer()
        self._waiting.add(answer)
        self.run_soon(self._begin, function, answer, begun)
        if self._closed:
            answer.settle(None, StopTask())
        answer.bell.acquire()
        self._waiting.discard(answer)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def spawn(self, function: Callable[[], Any]) -> Greenlet[..., Any]:
        """Have a greenlet call a function for whoever waits elsewhere; called in the hub."""
        greenlet = Greenlet(function)
        self._start(greenlet)
        return greenlet

    def close(self) -> None:
        """Take no more; threads that wait get ``StopTask``."""
        self._closed = True
        self._watcher.stop()
        for answer in list(self._waiting):
            answer.settle(None, StopTask())

    def fall_silent(self) -> None:
        """Do nothing more for others: this is a forked copy, and it has no other threads."""
        self._closed = True
        self._watcher.stop()
        for greenlet in list(self._greenlets):
            end_here(greenlet)

    def _begin(
        self,
        function: Callable[[], Any],
        answer: _Answer,
        begun: Callable[[Greenlet[..., Any]], None],
    ) -> None:
        greenlet = Greenlet(outcome_of, function)
        greenlet.rawlink(lambda done: answer.settle(*_of_greenlet(done)))
        begun(greenlet)
        self._start(greenlet)

    def _start(self, greenlet: Greenlet[..., Any]) -> None:
        self._greenlets.add(greenlet)
        greenlet.rawlink(self._greenlets.discard)
        greenlet.start()

    def _on_requests(self) -> None:
        # Before they are read: one that comes now wakes the hub again. No more than there are:
        # threads that are quicker than the hub must not keep it here.
        self._is_woken = False
        for _ in range(len(self._requests)):
            function, args = self._requests.popleft()
            try:
                function(*args)
            except Exception:
                logger.exception("a request of another thread failed; the others go on")


class _Answer:
    """What a thread waits for."""

    __slots__ = ("bell", "error", "value")

    def __init__(self) -> None:
        self.bell = _new_lock()
        self.bell.acquire()
        self.value: Any = None
        self.error: BaseException | None = None

    def settle(self, value: Any, error: BaseException | None) -> None:
        if self.bell.locked():
            self.value, self.error = value, error
            self.bell.release()


class Ticket:
    """What the greenlet of a run waits for: the end of its code, which is told in the hub."""

    __slots__ = ("_greenlet", "_pid", "error", "is_settled", "value")

    def __init__(self) -> None:
        self._greenlet: Any = None
        self._pid = os.getpid()
        self.is_settled = False
        self.value: Any = None
        self.error: BaseException | None = None

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Wake the greenlet; called in the thread of the hub. Only the first time counts."""
        if self.is_settled:
            return
        self.value, self.error, self.is_settled = value, error, True
        hub = get_hub()
        if getcurrent() is hub:
            self._wake()
        else:
            # The greenlet does not come back to the one that calls this.
            hub.loop.run_callback(self._wake)

    def _wake(self) -> None:
        if self._greenlet is not None:
            self._greenlet.switch()

    def wait(self, interrupt: Callable[[bool], None] | None = None) -> Any:
        """Wait and return the value.

        Args:
            interrupt: Told when the wait is interrupted, which then goes on: False for
                ``StopTask``, True for ``GreenletExit``. None: what is thrown ends the wait.

        Raises:
            BaseException: The error it was settled with.
        """
        while not self.is_settled:
            self._greenlet = getcurrent()
            try:
                get_hub().switch()
            except (StopTask, GreenletExit) as error:
                self._greenlet = None
                # A forked child ends its copies of our greenlets, not the code they wait for.
                if interrupt is None or os.getpid() != self._pid:
                    raise
                interrupt(isinstance(error, GreenletExit))
            finally:
                self._greenlet = None
        if self.error is not None:
            failure, self.error = self.error, None
            raise failure
        return self.value


def outcome_of(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Return what a function returned, and what it raised."""
    try:
        return function(), None
    except BaseException as error:
        return None, error


def _of_greenlet(greenlet: Greenlet[..., Any]) -> tuple[Any, BaseException | None]:
    found = greenlet.value
    if isinstance(found, tuple):
        return found
    # Killed before its first line.
    return None, StopTask()
