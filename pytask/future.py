"""A handle on a task: wait for it, read its result, stop it, follow its events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pytask.events import Subscription
from pytask.exceptions import TaskFailed, TaskNotFound, WaitTimeout
from pytask.serializers import decode_value
from pytask.states import READY, State

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers

#: Seconds a message may still be under way after what it announces was seen.
IN_FLIGHT = 0.2

_END_EVENTS = {state.value.lower(): state for state in READY}
#: Said of a task that was removed, or flushed with its queue.
REMOVED = "removed"


class Event(NamedTuple):
    """Something a task said: by ``emit``, or by starting and ending."""

    task_id: str
    name: str
    data: Any


class TaskFuture:
    """A task somebody else runs.

    Waiting subscribes to the task's events first and reads its record then, so that it can neither
    miss the end nor hang on a task that is cleaned up meanwhile. One greenlet or thread at a time
    may wait on one future.
    """

    def __init__(self, helpers: PyTaskHelpers, task_id: str) -> None:
        self.id = task_id
        self._helpers = helpers
        self._subscription: Subscription | None = None
        self._ended: tuple[State, Any] | None = None

    def __repr__(self) -> str:
        return f"<TaskFuture {self.id}>"

    @property
    def state(self) -> State | None:
        """The state the task is in now; None if there is no record of it."""
        if self._ended is not None:
            return self._ended[0]
        found = self._read()
        return found[0] if found is not None else None

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
        if self._subscription is None:
            channel = self._helpers.keys.events_channel(self.id)
            self._subscription = Subscription(self._helpers.link, channels=[channel])
        if not self._subscription.wait_ready(timeout):
            raise WaitTimeout(f"events of task {self.id}: no subscription within {timeout} s")

    def wait(self, timeout: float | None = None) -> State:
        """Wait until the task has ended or was stopped.

        Args:
            timeout: Seconds to wait; None: for ever.

        Returns:
            The state it ended in.

        Raises:
            WaitTimeout: It goes on.
            TaskNotFound: There is no record of it: it was removed, cleaned up before anybody
                listened, or never started.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._ended is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left < 0:
                raise WaitTimeout(f"task {self.id} has not ended within {timeout} s")
            self._wait_round(left)
        self.close()
        return self._ended[0]

    def _wait_round(self, left: float | None) -> None:
        self.watch(timeout=5.0 if left is None else max(0.1, min(5.0, left)))
        assert self._subscription is not None
        generation = self._subscription.generation
        found = self._read() or self._heard_end()
        if found is None:
            raise TaskNotFound(
                f"task {self.id} has no record: it was removed, never started, or cleaned up "
                "before anybody listened (start it with cleanup=False, or watch it first)"
            )
        if found[0] in READY:
            self._ended = found
            return
        # Once a second the record is read again in any case: a message is only a hint.
        until = time.monotonic() + (1.0 if left is None else min(1.0, left))
        while time.monotonic() < until and self._subscription.generation == generation:
            event = self._next_event(until - time.monotonic())
            if event is not None and event.name == REMOVED:
                return
            if event is not None and event.name in _END_EVENTS:
                # A task may emit an event of that name itself: the record decides, if it is
                # still there.
                now = self._read()
                if now is None:
                    self._ended = (_END_EVENTS[event.name], event.data)
                elif now[0] in READY:
                    self._ended = now
                return

    def _heard_end(self) -> tuple[State, Any] | None:
        """Look among what was heard so far for the end of a task whose record is gone.

        The event was published before the record was deleted, but it comes on another connection.
        """
        until = time.monotonic() + IN_FLIGHT
        while time.monotonic() < until:
            event = self._next_event(until - time.monotonic())
            if event is not None and event.name in _END_EVENTS:
                return _END_EVENTS[event.name], event.data
        return None

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the task and return its output.

        Args:
            timeout: Seconds to wait; None: for ever.

        Raises:
            TaskFailed: It ended in ERROR, EXCEPTION, REVOKED or STOPPED; carries its output.
            WaitTimeout: It goes on.
            TaskNotFound: There is no record of it.
        """
        state = self.wait(timeout)
        assert self._ended is not None
        if state is not State.SUCCESS:
            raise TaskFailed(self.id, state.value, self._ended[1])
        return self._ended[1]

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield what the task says from now on, its end included, and stop after that.

        Args:
            timeout: Seconds without an event after which it stops; None: never.

        Raises:
            WaitTimeout: Redis did not confirm the subscription.
        """
        self.watch()
        heard_at = time.monotonic()
        while timeout is None or time.monotonic() - heard_at < timeout:
            event = self._next_event(0.5)
            if event is not None:
                heard_at = time.monotonic()
                yield event
            is_last = event is None or event.name in _END_EVENTS or event.name == REMOVED
            if is_last and self.state in (*READY, None):
                return

    def _next_event(self, timeout: float) -> Event | None:
        assert self._subscription is not None
        message = self._subscription.get(max(0.0, timeout))
        return None if message is None else read_event(self.id, message.data)

    def _read(self) -> tuple[State, Any] | None:
        state, task, output = self._helpers.get_task(self.id, ["state", "task", "output"])
        if state is None and task is None:
            return None
        try:
            known = State(state or State.WAIT)
        except ValueError:
            known = State.WAIT
        return known, _decode(output)

    def close(self) -> None:
        """Stop listening; a later wait listens again."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None


def read_event(task_id: str, message: bytes) -> Event | None:
    """Turn a message of a task's channel into an event; None if it is none."""
    try:
        body = decode_value(message)
    except ValueError:
        return None
    if not isinstance(body, dict) or not isinstance(body.get("event"), str):
        return None
    return Event(task_id, body["event"], body.get("data"))


def _decode(output: str | None) -> Any:
    if output is None:
        return None
    try:
        return decode_value(output)
    except ValueError:
        return output
