"""One listener for all the tasks that are waited for: one connection, however many there are.

It runs in a thread, or a greenlet where gevent has patched threads, while there is something to
wait for. Each task is a :class:`Watch`: its channel is subscribed first, its record is read when
that is confirmed, when an end was heard, and about once a second in any case. So the end can be
neither missed nor taken from a task that only said so; a message is a hint, the record decides,
and only for one that is gone already its last message counts.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytask.events import Message, Subscription, Wakeup
from pytask.exceptions import RedisError, RedisUnavailable
from pytask.messages import read_message, read_queued
from pytask.states import State
from pytask.threads import is_patched, start_thread
from pytask.watches import NOWHERE, QUEUED, Watch

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers

logger = logging.getLogger(__name__)

#: Seconds without anything to wait for after which the connection is closed.
IDLE_SECONDS = 10.0
#: Records read per second when no message asks for it, at most.
LOOKS_PER_SECOND = 2_000


class Waiters:
    """The listener.

    Args:
        helpers: Of the tasks.
    """

    def __init__(self, helpers: PyTaskHelpers) -> None:
        self._helpers = helpers
        self._watches: dict[str, Watch] = {}
        self._due: dict[str, Watch] = {}
        self._commands: deque[tuple[Callable[[Watch], object], Watch]] = deque()
        self._lock = threading.Lock()
        # Sockets of a patched process belong to the native thread that opened them.
        self._owns_link = is_patched()
        self._link = helpers.connector.link() if self._owns_link else helpers.link
        self._subscription: Subscription | None = None
        self._is_running = False
        self.is_closed = False
        self._is_woken = False
        self._delayed: set[str] = set()
        self._failing_since: float | None = None
        self._calls: deque[Callable[[], object]] = deque()
        self._is_calling = False

    # What others call

    def watch(self, task_id: str) -> Watch | None:
        """Return the watch of a task, for :meth:`release`; None if this listener has ended."""
        with self._lock:
            if self.is_closed:
                return None
            watch = self._watches.get(task_id)
            if watch is None or watch.outcome is not None:
                watch = self._watches[task_id] = Watch(task_id)
                self._commands.append((self._add, watch))
            watch.users += 1
            if not self._is_running:
                self._is_running = True
                start_thread(self._run, "pytask-waiting")
        self._wake()
        return watch

    def want(self, watch: Watch, stage: int) -> None:
        """Have the record looked at, for whoever waits until a stage."""
        watch.is_wanted = True
        watch.wants_queued = watch.wants_queued or stage == QUEUED
        self._commands.append((self._look_soon, watch))
        self._wake()

    def release(self, watch: Watch) -> None:
        """Give back a watch; takes no lock, for a future is also released when it is collected."""
        self._commands.append((self._drop, watch))

    def call_later(self, function: Callable[[], object]) -> None:
        """Call a function of the user's, one after the other, where it may wait for other tasks."""
        with self._lock:
            self._calls.append(function)
            if self._is_calling:
                return
            self._is_calling = True
        start_thread(self._call, "pytask-callbacks")

    def close(self) -> None:
        """End soon; what is waited for is not heard of any more."""
        with self._lock:
            self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        subscription = self._subscription
        if subscription is not None and not self._is_woken:
            self._is_woken = True
            subscription.wake()

    # What the listener does

    def _run(self) -> None:
        subscription: Subscription | None = None
        idle_since = swept_at = time.monotonic()
        try:
            subscription = self._subscription = Subscription(
                self._link,
                # Never empty, or nobody could wake it.
                channels=[f"{self._helpers.keys.task_prefix}\1{os.urandom(8).hex()}"],
                on_confirmed=self._confirmed,
                wakeup=Wakeup(),
            )
            while True:
                self._is_woken = False
                while self._commands:
                    command, watch = self._commands.popleft()
                    command(watch)
                now = time.monotonic()
                if self._watches:
                    idle_since = now
                if self._may_end(now - idle_since):
                    return
                self._hear(subscription)
                pause = max(1.0, len(self._watches) / LOOKS_PER_SECOND)
                if time.monotonic() - swept_at >= pause:
                    swept_at = time.monotonic()
                    self._due.update(self._watches)
                self._look()
        except BaseException as error:
            self._give_up(error)
            raise
        finally:
            self._subscription = None
            if subscription is not None:
                subscription.close()
            if self._owns_link:
                self._link.close()

    def _may_end(self, idle: float) -> bool:
        with self._lock:
            if self._commands and not self.is_closed:
                return False
            if not self.is_closed and (self._watches or idle < IDLE_SECONDS):
                return False
            self.is_closed = True
        gone = RedisUnavailable("these helpers were closed while the task was waited for")
        for watch in self._watches.values():
            watch.fail(gone)
        return True

    def _give_up(self, error: BaseException) -> None:
        with self._lock:
            self.is_closed = True
        failure = RedisUnavailable(f"waiting for tasks failed: {error!r}; wait again")
        for watch in self._watches.values():
            watch.fail(failure)

    def _hear(self, subscription: Subscription) -> None:
        message = subscription.listen(0.05 if self._due else 0.5)
        heard = 0
        while message is not None or heard == 0:
            if message is not None:
                self._take(message)
            heard += 1
            message = subscription.get(0) if heard < 1_000 else None

    def _take(self, message: Message) -> None:
        if message.channel == self._helpers.keys.fleet_channel:
            self._take_queued(message.data)
            return
        task_id = message.channel[len(self._helpers.keys.task_prefix) :]
        watch = self._watches.get(task_id)
        read = read_message(task_id, message.data) if watch is not None else None
        if watch is not None and read is not None and watch.hear(*read) and watch.is_wanted:
            self._due[task_id] = watch

    def _take_queued(self, data: bytes) -> None:
        if self._delayed:
            for task_id in self._delayed.intersection(read_queued(data)):
                self._due[task_id] = self._watches[task_id]

    def _look(self) -> None:
        due = [watch for watch in self._due.values() if watch.is_wanted and watch.outcome is None]
        self._due.clear()
        if not due:
            self._failing_since = None
            return
        store = self._helpers.store.using(self._link).patient(0)
        try:
            found = store.read_states([watch.task_id for watch in due])
            now = time.monotonic()
            for watch in due:
                if watch.see(found[watch.task_id], now):
                    self._due[watch.task_id] = watch
                elif watch.stage == NOWHERE and watch.wants_queued and not watch.is_missing:
                    self._look_for_due(store, watch)
            self._failing_since = None
        except RedisError as error:
            self._due.update((watch.task_id, watch) for watch in due)
            self._failed(due, error)

    def _look_for_due(self, store: Any, watch: Watch) -> None:
        channel = self._helpers.keys.fleet_channel
        if store.is_delayed(watch.task_id):
            self._delayed.add(watch.task_id)
            if self._subscription is not None:
                self._subscription.subscribe(channel)
            return
        watch.reach(QUEUED, State.WAIT)

    def _failed(self, due: list[Watch], error: RedisError) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        patience = self._helpers.settings.redis_patience
        if not isinstance(error, RedisUnavailable) or now - self._failing_since > patience:
            for watch in due:
                watch.fail(error)

    def _confirmed(self, channel: str) -> None:
        watch = self._watches.get(channel[len(self._helpers.keys.task_prefix) :])
        if watch is not None:
            self._due[watch.task_id] = watch
            watch.confirm()

    def _add(self, watch: Watch) -> None:
        if self._watches.get(watch.task_id) is watch and self._subscription is not None:
            channel = self._helpers.keys.events_channel(watch.task_id)
            # Of an earlier watch of the same task, perhaps: asked again, it is confirmed again.
            self._subscription.unsubscribe(channel)
            self._subscription.subscribe(channel)

    def _look_soon(self, watch: Watch) -> None:
        # Subscribed first, or an end could come between the look and the subscription.
        if watch.is_confirmed:
            self._due[watch.task_id] = watch

    def _drop(self, watch: Watch) -> None:
        with self._lock:
            watch.users -= 1
            if watch.users > 0 or self._watches.get(watch.task_id) is not watch:
                return
            del self._watches[watch.task_id]
        self._due.pop(watch.task_id, None)
        self._delayed.discard(watch.task_id)
        if self._subscription is not None:
            self._subscription.unsubscribe(self._helpers.keys.events_channel(watch.task_id))
            if not self._delayed:
                self._subscription.unsubscribe(self._helpers.keys.fleet_channel)

    def _call(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._is_calling = False
                    return
                function = self._calls.popleft()
            try:
                function()
            except Exception:
                logger.exception("a callback failed; the others are called all the same")
