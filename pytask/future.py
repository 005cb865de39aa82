"""A handle on a task: wait for it, read its result, stop it, follow its events."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pytask.exceptions import TaskNotFound, WaitTimeout, task_failed
from pytask.messages import LAST_EVENTS, Event, read_state, read_value
from pytask.states import READY, State
from pytask.watches import DONE, IN_FLIGHT, MAX_EVENTS, QUEUED, STAGES, STARTED, Outcome, Watch

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers
    from pytask.waiting import Waiters

__all__ = ["Event", "TaskFuture"]


class TaskFuture:
    """A task somebody else runs.

    It can be waited for in threads, in greenlets and, by ``await future``, on an event loop of
    asyncio; by any number of them at a time. All futures of a process share one connection.
    Waiting subscribes to the task's events first and reads its record then, so that it can neither
    miss the end nor hang on a task that is cleaned up meanwhile.
    """

    def __init__(self, helpers: PyTaskHelpers, task_id: str) -> None:
        self.id = task_id
        self._helpers = helpers
        self._held: tuple[Waiters, Watch] | None = None
        self._feed: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._ended: Outcome | None = None

    def __repr__(self) -> str:
        return f"<TaskFuture {self.id}>"

    @property
    def state(self) -> State | None:
        """The state the task is in now; None if there is no record of it."""
        if self._ended is not None:
            return self._ended.state
        return self._read()

    def done(self) -> bool:
        """Return whether the task has ended or was stopped."""
        return self.state in READY

    def stop(self) -> bool:
        """Stop the task; see :meth:`pytask.PyTaskHelpers.stop_task`."""
        return self._helpers.stop_task(self.id)

    def reload(self) -> bool:
        """Reload the task; see :meth:`pytask.PyTaskHelpers.reload_task`."""
        return self._helpers.reload_task(self.id)

    def watch(self, timeout: float = 5.0) -> None:
        """Begin to listen; what the task says from now on is not missed.

        Args:
            timeout: Seconds to wait for the subscription to be confirmed.

        Raises:
            WaitTimeout: Redis did not confirm it in time.
        """
        if self._held is None:
            self._held = self._helpers.waiting_for(self.id)
            self._held[1].feeds.append(self._feed)
        watch = self._held[1]
        changed = threading.Event()
        watch.add_listener(changed.set)
        deadline = time.monotonic() + timeout
        try:
            while not watch.is_confirmed:
                changed.clear()
                if not watch.is_confirmed and not changed.wait(deadline - time.monotonic()):
                    raise WaitTimeout(
                        f"events of task {self.id}: no subscription within {timeout} s"
                    )
        finally:
            watch.remove_listener(changed.set)

    def wait(self, timeout: float | None = None, until: str = "done") -> State:
        """Wait until the task has ended or was stopped, or has come so far.

        Args:
            timeout: Seconds to wait; None: for ever.
            until: ``"done"``; ``"started"``: a worker has taken it, or did; ``"queued"``: it is in
                its queue or beyond, which a task with a delay is when that is over.

        Returns:
            The state it is in then, as far as it is known.

        Raises:
            WaitTimeout: It goes on.
            TaskNotFound: There is no record of it: it was removed, cleaned up before anybody
                listened, or never started.
            RedisUnavailable: Redis did not answer for ``redis_patience`` seconds.
            ValueError: ``until`` is none of the three.
        """
        stage = _stage(until)
        if self._ended is not None:
            return self._ended.state
        deadline = None if timeout is None else time.monotonic() + timeout
        if timeout is not None and timeout <= 0:
            now = self._read(keep=True)
            if now in READY or (stage <= STARTED and now in (State.RUNNING, State.RETRY)):
                assert now is not None
                return now
            if now is None or stage <= QUEUED:
                # The listener knows whether its end was heard, or it is delayed.
                deadline = time.monotonic() + 1.0
        changed = threading.Event()
        with self._watching(changed.set, stage) as watch:
            while not self._has_come(watch, stage):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(f"task {self.id} is not {until} within {timeout} s")
                changed.wait(left)
                changed.clear()
            return State.WAIT if watch.state is None else watch.state

    def _has_come(self, watch: Watch, stage: int) -> bool:
        """Whether the wait is over; raises what ends it otherwise."""
        if self._ended is None:
            self._ended = watch.outcome
        if self._ended is not None:
            watch.state = self._ended.state
            self._let_go()
            return True
        if watch.is_missing:
            raise TaskNotFound(
                f"task {self.id} has no record: it was removed, never started, or cleaned up "
                "before anybody listened (start it with cleanup=False, or watch it first)"
            )
        if watch.trouble is not None:
            raise watch.trouble
        return watch.stage >= stage

    @contextmanager
    def _watching(self, listener: Callable[[], object], stage: int) -> Iterator[Watch]:
        waiters, watch = self._helpers.waiting_for(self.id)
        watch.add_listener(listener)
        try:
            waiters.want(watch, stage)
            yield watch
        finally:
            watch.remove_listener(listener)
            waiters.release(watch)

    def result(self, timeout: float | None = None, raises: Iterable[type[Exception]] = ()) -> Any:
        """Wait for the task and return its output.

        Args:
            timeout: Seconds to wait; None: for ever.
            raises: Exception classes of yours. If the task raised one of them, or one derived from
                it, what is raised here is an instance of that class as well, so that you can catch
                it by it. Classes are compared by module and name; nothing is ever imported.

        Raises:
            TaskFailed: It ended in ERROR (``TaskError``), EXCEPTION (``TaskCrashed``), REVOKED
                (``TaskRevoked``) or STOPPED (``TaskStopped``); carries its output and what was
                raised in the worker, with the traceback.
            WaitTimeout: It goes on.
            TaskNotFound: There is no record of it.
            RedisUnavailable: Redis did not answer for ``redis_patience`` seconds.
        """
        self.wait(timeout)
        return self._outcome(raises)

    def _outcome(self, raises: Iterable[type[Exception]] = ()) -> Any:
        assert self._ended is not None
        state, output, error = self._ended
        if state is State.SUCCESS:
            return output
        known = error if isinstance(error, dict) else None
        raise task_failed(self.id, state.value, output, known, raises)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait on an event loop of asyncio, which goes on meanwhile; see :meth:`result`."""
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        import asyncio

        if self._ended is None:
            loop = asyncio.get_running_loop()
            changed = asyncio.Event()

            def tell() -> None:
                # The loop may have been closed meanwhile.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(changed.set)

            with self._watching(tell, DONE) as watch:
                while not self._has_come(watch, DONE):
                    await changed.wait()
                    changed.clear()
        return self._outcome()

    def add_done_callback(self, callback: Callable[[TaskFuture], object]) -> None:
        """Call a function once with this future when the task has ended.

        It is called in a thread of pytask's, or a greenlet where gevent has patched threads: one
        callback after the other, so those that take long delay each other, nothing else. What it
        raises is logged. There ``future.result()`` returns, or raises, at once. It is called as
        well when the task turns out to have no record: then ``result`` raises ``TaskNotFound``. It
        is not called if the helpers are closed, or the process ends, before that.

        Args:
            callback: Called with this future.
        """
        waiters, watch = self._helpers.waiting_for(self.id)
        called = threading.Event()

        def tell() -> None:
            if called.is_set() or (watch.outcome is None and not watch.is_missing):
                return
            called.set()
            if self._ended is None:
                self._ended = watch.outcome
            self._let_go()
            watch.remove_listener(tell)
            waiters.release(watch)
            waiters.call_later(lambda: callback(self))

        watch.add_listener(tell)
        waiters.want(watch, DONE)
        tell()

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield what the task says from now on, its end included, and stop after that.

        Args:
            timeout: Seconds without an event after which it stops; None: never.

        Raises:
            WaitTimeout: Redis did not confirm the subscription.
        """
        self.watch()
        assert self._held is not None
        watch = self._held[1]
        changed = threading.Event()
        watch.add_listener(changed.set)
        heard_at = time.monotonic()
        try:
            while timeout is None or time.monotonic() - heard_at < timeout:
                event = self._feed.popleft() if self._feed else None
                if event is not None:
                    heard_at = time.monotonic()
                    yield event
                is_last = event is None or event.name in LAST_EVENTS
                if is_last and self._is_over():
                    # The record is ahead of the messages, which come on another connection.
                    if event is not None or not changed.wait(IN_FLIGHT):
                        return
                elif not self._feed:
                    changed.wait(0.5)
                changed.clear()
        finally:
            watch.remove_listener(changed.set)

    def _is_over(self) -> bool:
        return not self._feed and self._read() in (*READY, None)

    def _read(self, keep: bool = False) -> State | None:
        """Read the record; remembers an end if asked."""
        [values] = self._helpers.store.read_states([self.id]).values()
        state, task, output, error = values
        if state is None and task is None:
            return None
        known = read_state(state)
        if keep and known in READY:
            self._ended = Outcome(known, read_value(output), read_value(error))
        return known

    def close(self) -> None:
        """Stop listening; a later wait listens again."""
        self._let_go()
        self._feed.clear()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            waiters, watch = held
            with suppress(ValueError):
                watch.feeds.remove(self._feed)
            waiters.release(watch)

    def __del__(self) -> None:
        if getattr(self, "_held", None) is not None:
            self._let_go()


def _stage(until: str) -> int:
    try:
        return STAGES[until]
    except KeyError:
        raise ValueError(f"until={until!r}: one of {', '.join(STAGES)}") from None
