"""What is known of one task that is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pytask.exceptions import RedisError
from pytask.messages import END_EVENTS, REMOVED, Event, read_state, read_value
from pytask.states import READY, State

#: Seconds a message may still be under way after what it announces was seen.
IN_FLIGHT = 0.2
#: Events kept for one reader that does not keep up; the oldest are dropped.
MAX_EVENTS = 10_000

#: How far a task has come, and what waiting "until" it means.
NOWHERE, QUEUED, STARTED, DONE = range(4)
STAGES = {"queued": QUEUED, "started": STARTED, "done": DONE}


class Outcome(NamedTuple):
    """How a task ended."""

    state: State
    output: Any
    error: Any


class Watch:
    """What is known of one task that is waited for; changed by the listener only."""

    __slots__ = (
        "_heard",
        "_listeners",
        "_missed_at",
        "feeds",
        "is_confirmed",
        "is_missing",
        "is_wanted",
        "outcome",
        "stage",
        "state",
        "task_id",
        "trouble",
        "users",
        "wants_queued",
    )

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.users = 0
        self.stage = NOWHERE
        self.state: State | None = None
        self.outcome: Outcome | None = None
        #: There is no record, and no end was heard.
        self.is_missing = False
        self.is_confirmed = False
        #: Somebody wants the end, not only the events: the record is looked at.
        self.is_wanted = False
        self.wants_queued = False
        self.trouble: RedisError | None = None
        self.feeds: list[deque[Event]] = []
        self._listeners: list[Callable[[], object]] = []
        self._heard: Outcome | None = None
        self._missed_at: float | None = None

    def add_listener(self, listener: Callable[[], object]) -> None:
        """Call a function at each change; it must neither wait nor raise."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[], object]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def confirm(self) -> None:
        self.is_confirmed = True
        self._notify()

    def hear(self, event: Event, error: Any) -> bool:
        """Take note of an event; return whether the record has to be looked at."""
        for feed in self.feeds:
            feed.append(event)
        if event.name in END_EVENTS:
            self._heard = Outcome(END_EVENTS[event.name], event.data, error)
            self._notify()
            return True
        if event.name == REMOVED:
            return True
        if event.name == "started":
            self.reach(STARTED, State.RUNNING)
        elif self.feeds:
            self._notify()
        return False

    def reach(self, stage: int, state: State) -> None:
        self.state = state
        if stage > self.stage:
            self.stage = stage
            self._notify()

    def see(self, values: Iterable[bytes | None], now: float) -> bool:
        """Take note of a record as it is; return whether to look again soon."""
        state, task, output, error = values
        self.trouble = None
        if state is None and task is None:
            return self._see_nothing(now)
        self._missed_at = None
        self.is_missing = False
        known = read_state(state)
        if known in READY:
            self._end(Outcome(known, read_value(output), read_value(error)))
        else:
            # It went on, or only said that it ended.
            self._heard = None
            if known in (State.RUNNING, State.RETRY):
                self.reach(STARTED, known)
            else:
                self.state = known
        return False

    def _see_nothing(self, now: float) -> bool:
        if self._heard is not None:
            self._end(self._heard)
            return False
        # The end was published before the record was deleted, but on another connection.
        self._missed_at = now if self._missed_at is None else self._missed_at
        if now - self._missed_at < IN_FLIGHT:
            return True
        if not self.is_missing:
            self.is_missing = True
            self._notify()
        return False

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome, self.state, self.stage = outcome, outcome.state, DONE
            self._notify()

    def fail(self, trouble: RedisError) -> None:
        self.trouble = trouble
        self._notify()

    def _notify(self) -> None:
        for listener in tuple(self._listeners):
            listener()
