"""Listening to channels, on a connection that is kept honest.

Identity: one subscription has one connection and one owner, the greenlet or thread that calls
:meth:`Subscription.get`. Authority: none. A message is a hint; what it announces is also in
Redis, and whoever listens reads it there after every gap. ``generation`` tells when there was
one. Failure: a TCP connection whose peer vanished reports nothing for minutes, so the owner
sends its own pings, and a connection that is silent for two of them is replaced; on a cluster by
one to another node, because the node itself may be gone for good. Nothing is raised for that.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pytask.connection.retry import Patience
from pytask.exceptions import RedisError, RedisRejected, RedisUnavailable
from pytask.records import to_text

logger = logging.getLogger(__name__)

#: Longest read from a feed that does not notice a wakeup.
DEAF_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Message:
    """One published message.

    Attributes:
        channel: Where it was published.
        pattern: The pattern of ours that matched, None for a channel we named.
        data: What was published.
    """

    channel: str
    pattern: str | None
    data: bytes


class _Feed(Protocol):
    def send(self, *args: Any) -> None: ...

    def read(self, timeout: float) -> list[Any] | None: ...

    def close(self) -> None: ...


class _Link(Protocol):
    def pubsub(self) -> _Feed: ...


class Wakeup:
    """Wakes whoever listens, from any thread or greenlet.

    Through a pipe, not the connection to Redis: only its owner may use and close that, or the owner
    would read on from a socket that is gone, or, in another thread, from the next of its number.
    """

    def __init__(self) -> None:
        #: Held while the pipe is written to or closed.
        self._lock = threading.Lock()
        self._is_closed = False
        self.number, self._end = os.pipe()
        os.set_blocking(self.number, False)
        os.set_blocking(self._end, False)

    def wake(self) -> None:
        """Have the listener return."""
        with self._lock, suppress(BlockingIOError):
            if not self._is_closed:
                os.write(self._end, b"1")

    def clear(self) -> None:
        """Forget the calls so far; for the listener."""
        with suppress(BlockingIOError):
            os.read(self.number, 4096)

    def close(self) -> None:
        """Wake nobody any more."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self.number)
                os.close(self._end)


class Subscription:
    """Channels and patterns that stay subscribed while Redis comes and goes.

    It belongs to one greenlet or thread: all methods but :meth:`wake` are called there. It connects
    at the first :meth:`get` and does its own upkeep inside of it, so :meth:`get` is called at least
    every ``ping_interval``.

    Attributes:
        generation: Rises by one each time everything asked for is (again) subscribed. Messages
            before that are lost; read the truth after each rise.
        ping_interval: May be changed at any time.
    """

    def __init__(
        self,
        link: _Link,
        *,
        channels: Iterable[str] = (),
        patterns: Iterable[str] = (),
        ping_interval: float = 1.0,
        on_confirmed: Callable[[str], object] | None = None,
        wakeup: Wakeup | None = None,
    ) -> None:
        """Remember what to subscribe; nothing is connected yet.

        Args:
            link: Opens the connection.
            channels: Channels by name.
            patterns: Channels by pattern.
            ping_interval: Seconds between pings; a dead connection is noticed within two.
            on_confirmed: Told each channel or pattern that is (again) subscribed; it must not wait.
            wakeup: By it others end :meth:`listen`; closed with the subscription.
        """
        self.generation = 0
        self._link = link
        self._channels = dict.fromkeys(channels)
        self._patterns = dict.fromkeys(patterns)
        self.ping_interval = ping_interval
        self._on_confirmed = on_confirmed
        self._wakeup = wakeup
        self._patience = Patience(None)
        self._feed: _Feed | None = None
        self._is_closed = False
        self._unconfirmed = 0
        self._attempt = 0
        self._trouble = ""
        self._retry_at = 0.0
        self._asked_at = 0.0
        self._pinged_at = 0.0
        self._has_ping_out = False

    @property
    def ready(self) -> bool:
        """Whether everything asked for is subscribed at present."""
        return self._feed is not None and self._unconfirmed == 0 and self.generation > 0

    def wait_ready(self, timeout: float) -> bool:
        """Subscribe and wait for the confirmation; messages that arrive meanwhile are dropped.

        Args:
            timeout: Seconds to wait.

        Returns:
            Whether everything asked for is subscribed.
        """
        deadline = time.monotonic() + timeout
        while not self.ready and time.monotonic() < deadline and not self._is_closed:
            self._step(min(deadline, time.monotonic() + self.ping_interval), until_ready=True)
        return self.ready

    def subscribe(self, *channels: str) -> None:
        """Add channels; ``generation`` rises when the server has confirmed them."""
        new = [channel for channel in channels if channel not in self._channels]
        self._channels.update(dict.fromkeys(new))
        if new and self._tell("SUBSCRIBE", new):
            self._unconfirmed += len(new)
            self._asked_at = time.monotonic()

    def unsubscribe(self, *channels: str) -> None:
        """Remove channels; messages on the way may still arrive."""
        known = [channel for channel in channels if channel in self._channels]
        for channel in known:
            del self._channels[channel]
        if known:
            self._tell("UNSUBSCRIBE", known)

    def get(self, timeout: float) -> Message | None:
        """Return the next message.

        Connection trouble is not reported; the subscription is rebuilt in here, which may take
        the link's connect time-out longer than ``timeout``.

        Args:
            timeout: Seconds to wait; 0 returns only what has arrived.

        Returns:
            The message, or None when there was none in time or the subscription is closed.
        """
        return self._step(time.monotonic() + timeout)

    def listen(self, timeout: float) -> Message | None:
        """Like :meth:`get`, but return also when something was confirmed, or on :meth:`wake`."""
        return self._step(time.monotonic() + timeout, is_eager=True)

    def wake(self) -> None:
        """Have :meth:`listen` return soon; the one method that others may call."""
        if self._wakeup is not None:
            self._wakeup.wake()

    def close(self) -> None:
        """Close the connection; :meth:`get` returns None from now on."""
        self._is_closed = True
        self._drop_feed()
        if self._wakeup is not None:
            self._wakeup.close()

    def _step(
        self, deadline: float, until_ready: bool = False, is_eager: bool = False
    ) -> Message | None:
        while not self._is_closed:
            feed = None
            try:
                feed = self._connected(deadline)
                if feed is not None and is_eager and self._is_woken(feed, deadline):
                    return None
                reply = feed.read(self._pause(feed, deadline)) if feed is not None else None
                if feed is not None and reply is None:
                    self._keep_honest(feed)
            except RedisError as error:
                self._lost(error)
                reply = None
            except BaseException:
                # Killed or timed out between two bytes of a message.
                self._drop_feed()
                raise
            message = self._take(reply) if reply is not None else None
            if message is not None:
                return message
            if (until_ready and self.ready) or (is_eager and reply is not None):
                return None
            is_over = time.monotonic() >= deadline or (is_eager and self._is_deaf(feed))
            if reply is None and is_over:
                return None
        return None

    def _is_woken(self, feed: _Feed, deadline: float) -> bool:
        """Wait until there is something to read; return whether to go back to who listens."""
        if self._wakeup is None:
            return False
        timeout = self._time_to_read(deadline)
        wait = getattr(feed, "wait", None)
        if wait is None or not wait(timeout, self._wakeup.number):
            return False
        self._wakeup.clear()
        return True

    def _connected(self, deadline: float) -> _Feed | None:
        """Return the connection; None when there is none and it is not time to try again."""
        if self._feed is not None:
            return self._feed
        now = time.monotonic()
        nothing_to_hear = not self._channels and not self._patterns
        if nothing_to_hear or now < self._retry_at:
            until = deadline if nothing_to_hear else min(deadline, self._retry_at)
            time.sleep(max(0.0, until - now))
            if nothing_to_hear or time.monotonic() < self._retry_at:
                return None
        feed = self._feed = self._link.pubsub()
        self._unconfirmed = len(self._channels) + len(self._patterns)
        self._pinged_at = self._asked_at = time.monotonic()
        self._has_ping_out = False
        if self._channels:
            feed.send("SUBSCRIBE", *self._channels)
        if self._patterns:
            feed.send("PSUBSCRIBE", *self._patterns)
        return feed

    def _time_to_read(self, deadline: float) -> float:
        upkeep_at = self._pinged_at + self.ping_interval
        return max(0.0, min(deadline, upkeep_at) - time.monotonic())

    def _pause(self, feed: _Feed, deadline: float) -> float:
        pause = self._time_to_read(deadline)
        # The feed of somebody's own store may be unable to wait for a wakeup as well.
        return min(pause, DEAF_SECONDS) if self._is_deaf(feed) else pause

    def _is_deaf(self, feed: _Feed | None) -> bool:
        return self._wakeup is not None and feed is not None and not hasattr(feed, "wait")

    def _keep_honest(self, feed: _Feed) -> None:
        """Send a ping when one is due; give up a connection that answers none.

        Called only when nothing could be read, so an owner that was busy for long does not take
        its own delay for silence of the server.
        """
        now = time.monotonic()
        if now < self._pinged_at + self.ping_interval:
            return
        if self._has_ping_out:
            raise RedisUnavailable(f"no answer to a ping for {now - self._pinged_at:.1f} s")
        if self._unconfirmed and now >= self._asked_at + 2 * self.ping_interval:
            raise RedisUnavailable("the server answers pings but not the subscription")
        feed.send("PING", "pytask")
        self._pinged_at = now
        self._has_ping_out = True

    def _take(self, reply: list[Any]) -> Message | None:
        self._has_ping_out = False
        kind = reply[0]
        if kind == b"message":
            return Message(to_text(reply[1]), None, reply[2])
        if kind == b"pmessage":
            return Message(to_text(reply[2]), to_text(reply[1]), reply[3])
        if kind in (b"subscribe", b"psubscribe") and self._unconfirmed:
            self._unconfirmed -= 1
            if self._on_confirmed is not None:
                self._on_confirmed(to_text(reply[1]))
            if self._unconfirmed == 0:
                self.generation += 1
                self._attempt = 0
                self._trouble = ""
        return None

    def _tell(self, command: str, channels: list[str]) -> bool:
        """Send a change over a connection that is up; a new connection sends the whole list."""
        if self._feed is None:
            return False
        try:
            self._feed.send(command, *channels)
        except RedisError as error:
            self._lost(error)
            return False
        return True

    def _lost(self, error: RedisError) -> None:
        self._drop_feed()
        # The first attempt comes at once: on a cluster it goes to another node.
        pause = self._patience.pause(self._attempt - 1) if self._attempt else 0.0
        self._retry_at = time.monotonic() + pause
        # One line per trouble, not one per attempt.
        level = logging.DEBUG if str(error) == self._trouble else logging.WARNING
        if level == logging.WARNING and isinstance(error, RedisRejected):
            level = logging.ERROR
        self._trouble = str(error)
        logger.log(level, "subscription lost: %s; subscribing again in %.1f s", error, pause)
        self._attempt += 1

    def _drop_feed(self) -> None:
        feed, self._feed = self._feed, None
        self._unconfirmed = 0
        if feed is not None:
            feed.close()
