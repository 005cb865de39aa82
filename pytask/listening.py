"""Events of the whole fleet, for callbacks and as an iterator.

What happens to a task is published on the task's channel, what concerns many tasks or workers on
the channel of the fleet; a listener hears both and hands each event on with the record as it is by
then. Nothing is stored: an event nobody heard is gone. When a connection was lost, events may have
been missed; an event ``gap`` says so.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytask.events import Message, Subscription, Wakeup
from pytask.exceptions import PyTaskException, WaitTimeout
from pytask.messages import END_EVENTS, read_message, read_queued, read_value
from pytask.states import State
from pytask.threads import start_thread

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers
    from pytask.keys import Keys

logger = logging.getLogger(__name__)

#: Messages whose records are read together.
BATCH = 100
#: Told that events may have been missed.
GAP = "gap"
#: What any end is called as well.
DONE = "done"
KINDS = ("task", "worker")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened, with the task, or the worker, as it is now.

    Attributes:
        kind: ``"task"`` or ``"worker"``.
        event: What happened: ``queued``, ``started``, ``success``, …, an event of the task's own;
            ``up`` or ``down``; or ``gap``: events may have been missed.
        id: The task, or the worker; empty for a gap.
        data: What the event carried.
        channel: Where it was published.
        record: The fields of the record, all text; empty if it is gone, or for a worker.
    """

    kind: str
    event: str
    id: str
    data: Any = None
    channel: str = ""
    record: dict[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        """The name of the task; None if its record is gone."""
        return self.record.get("task")

    @property
    def state(self) -> State | None:
        """The state the task is in by now; None if its record is gone."""
        if not self.record:
            return None
        try:
            return State(self.record.get("state") or State.WAIT)
        except ValueError:
            return None

    @property
    def output(self) -> Any:
        """The output of the task, if it has one by now."""
        output = self.record.get("output")
        return read_value(output) if output else None


Callback = Callable[[str, str, Notice], object]


def compile_events(event_re: str) -> re.Pattern[str]:
    """Return the pattern for names of events.

    Raises:
        ValueError: It is no regular expression.
    """
    try:
        return re.compile(event_re)
    except re.error as error:
        raise ValueError(f"event_re={event_re!r} is no regular expression: {error}") from None


def matched(pattern: re.Pattern[str], event: str) -> str | None:
    """Return the name by which a pattern matches an event: its own, or ``done``; else None."""
    if pattern.fullmatch(event):
        return event
    return DONE if event in END_EVENTS and pattern.fullmatch(DONE) else None


def subscribe(helpers: PyTaskHelpers, kind: str, **options: Any) -> Subscription:
    """Return a subscription to all events of a kind.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"events of {kind!r}: one of {', '.join(KINDS)} is needed")
    patterns = [helpers.keys.events_pattern] if kind == "task" else []
    channels = [helpers.keys.fleet_channel]
    return Subscription(helpers.link, channels=channels, patterns=patterns, **options)


def read_notices(keys: Keys, kind: str, message: Message) -> list[Notice]:
    """Return what a message says of tasks, or of workers."""
    channel = message.channel
    if channel == keys.fleet_channel:
        if kind == "task":
            return [
                Notice("task", "queued", task_id, None, channel)
                for task_id in read_queued(message.data)
            ]
        body = read_value(message.data)
        if isinstance(body, dict) and isinstance(body.get("worker"), str):
            return [Notice("worker", str(body.get("event")), body["worker"], None, channel)]
        return []
    if kind != "task" or not channel.startswith(keys.task_prefix):
        return []
    read = read_message(channel[len(keys.task_prefix) :], message.data)
    if read is None:
        return []  # a request on a control channel, which the pattern matches too
    return [Notice("task", read[0].name, read[0].task_id, read[0].data, channel)]


class Feed:
    """Notices of one kind, in batches, on a subscription of its own."""

    def __init__(self, helpers: PyTaskHelpers, kind: str, subscription: Subscription) -> None:
        self._helpers = helpers
        self._kind = kind
        self._subscription = subscription
        self._generation = 0

    @property
    def is_ready(self) -> bool:
        """Whether it has been subscribed."""
        return self._generation > 0

    def collect(self, timeout: float, is_wanted: Callable[[Notice], bool]) -> list[Notice]:
        """Return what has happened, with records, after waiting for it for so many seconds."""
        subscription, notices = self._subscription, list[Notice]()
        message = subscription.listen(timeout)
        for _ in range(BATCH):
            if message is not None:
                notices += read_notices(self._helpers.keys, self._kind, message)
            message = subscription.get(0)
            if message is None:
                break
        if message is not None:
            notices += read_notices(self._helpers.keys, self._kind, message)
        if subscription.generation != self._generation:
            if self.is_ready:
                notices.insert(0, Notice(self._kind, GAP, ""))
            self._generation = subscription.generation
        return self._with_records([notice for notice in notices if is_wanted(notice)])

    def _with_records(self, notices: list[Notice]) -> list[Notice]:
        ids = [notice.id for notice in notices if notice.kind == "task" and notice.id]
        if not ids:
            return notices
        try:
            records = self._helpers.store.read_records(ids)
        except PyTaskException as error:
            logger.warning("records of %d events not read: %s; they come without", len(ids), error)
            return notices
        return [
            Notice(one.kind, one.event, one.id, one.data, one.channel, records.get(one.id, {}))
            for one in notices
        ]


class Listener:
    """Calls functions for events of one kind, in a thread or greenlet of its own."""

    def __init__(self, helpers: PyTaskHelpers, kind: str) -> None:
        self._helpers = helpers
        self._kind = kind
        self._subscription = subscribe(helpers, kind, wakeup=Wakeup())
        self._callbacks: list[tuple[re.Pattern[str], Callback]] = []
        self._ready = threading.Event()
        self._is_closed = False
        start_thread(self._run, f"pytask-events-{kind}")

    def add(self, event_re: str, callback: Callback) -> None:
        """Call a function for each event the regular expression matches as a whole."""
        pattern = compile_events(event_re)
        self._callbacks = [*self._callbacks, (pattern, callback)]

    def remove(self, event_re: str, callback: Callback) -> bool:
        """Forget a function; return whether none is left."""
        for entry in self._callbacks:
            if entry[0].pattern == event_re and entry[1] == callback:
                self._callbacks = [one for one in self._callbacks if one is not entry]
                break
        return not self._callbacks

    def wait_ready(self, timeout: float) -> None:
        """Wait until what happens is heard.

        Raises:
            WaitTimeout: It is not within so many seconds.
        """
        if not self._ready.wait(timeout):
            raise WaitTimeout(f"events of {self._kind}s: no subscription within {timeout} s")

    def close(self) -> None:
        """End soon."""
        self._is_closed = True
        self._subscription.wake()

    def _run(self) -> None:
        feed = Feed(self._helpers, self._kind, self._subscription)
        try:
            while not self._is_closed:
                notices = feed.collect(0.5, self._is_wanted)
                if feed.is_ready:
                    self._ready.set()
                for notice in notices:
                    self._tell(notice)
        except Exception:
            logger.exception("the listener to events of %ss ended", self._kind)
        finally:
            self._subscription.close()

    def _is_wanted(self, notice: Notice) -> bool:
        if self._is_closed:
            return False
        return any(matched(pattern, notice.event) for pattern, _ in self._callbacks)

    def _tell(self, notice: Notice) -> None:
        for pattern, callback in self._callbacks:
            event = matched(pattern, notice.event)
            if event is None or self._is_closed:
                continue
            try:
                callback(notice.channel, event, notice)
            except Exception:
                logger.exception(
                    "a callback failed on event %r of %s %s; the others are called all the same",
                    notice.event,
                    notice.kind,
                    notice.id,
                )


def iterate(
    helpers: PyTaskHelpers,
    kind: str,
    event_re: str,
    timeout: float | None,
    is_closed: Callable[[], bool],
) -> Iterator[Notice]:
    """Yield what happens from now on; see :meth:`pytask.PyTaskHelpers.events`."""
    pattern = compile_events(event_re)
    subscription = subscribe(helpers, kind)
    patience = helpers.settings.redis_patience
    feed = Feed(helpers, kind, subscription)
    until = time.monotonic() + patience
    while not feed.is_ready and time.monotonic() < until and not is_closed():
        feed.collect(0.5, lambda _: False)
    if not feed.is_ready:
        subscription.close()
        raise WaitTimeout(f"events of {kind}s: no subscription within {patience} s")
    return _iterate(feed, subscription, pattern, timeout, is_closed)


def _iterate(
    feed: Feed,
    subscription: Subscription,
    pattern: re.Pattern[str],
    timeout: float | None,
    is_closed: Callable[[], bool],
) -> Iterator[Notice]:
    heard_at = time.monotonic()
    try:
        while not is_closed() and (timeout is None or time.monotonic() - heard_at < timeout):
            pause = 0.5 if timeout is None else max(0.01, min(0.5, timeout / 2))
            for notice in feed.collect(pause, lambda one: matched(pattern, one.event) is not None):
                yield notice
                heard_at = time.monotonic()
    finally:
        subscription.close()
