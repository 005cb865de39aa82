"""The shape all services of a worker share."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

from gevent import Greenlet, getcurrent
from gevent.event import Event
from greenlet import GreenletExit

from pytask.concurrency.interrupt import end_here
from pytask.exceptions import RedisError, RedisUnavailable

logger = logging.getLogger(__name__)


class Service:
    """A greenlet that calls :meth:`run_once` until it is stopped.

    Starting twice, stopping twice and stopping before the start are all harmless. An exception
    in a round never ends the service: it is logged, and after a pause the next round begins.
    """

    #: Names the greenlet and the log lines.
    name = "service"
    #: Bounds of the pause after a failed round, in seconds; it doubles with each failure. The upper
    #: one is how long a Redis that is back may stay without work.
    min_delay = 0.05
    max_delay = 0.5

    def __init__(self) -> None:
        self._greenlet: Greenlet[[], None] | None = None
        self._pid = 0
        self._signal = Event()
        self._stopping = False
        self._resting = False
        self._failures = 0
        self._last_trouble = ""

    def start(self) -> None:
        """Begin the rounds in a greenlet of its own."""
        if self._greenlet is not None and not self._greenlet.dead:
            return
        self._stopping = False
        self._signal.clear()
        self._pid = os.getpid()
        self._greenlet = Greenlet(self._run)
        self._greenlet.name = f"pytask-{self.name}"
        self._greenlet.start()

    def stop(self) -> None:
        """Ask for the end: at once if the service waits, else after the round under way."""
        self._stopping = True
        self._signal.set()
        if self._resting:
            self.kill()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end and return whether it has come within ``timeout`` seconds."""
        greenlet = self._greenlet
        if greenlet is None or greenlet is getcurrent():
            return True
        greenlet.join(timeout)
        return bool(greenlet.dead)

    def kill(self) -> None:
        """End the service wherever it is."""
        self._stopping = True
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def end_here(self) -> None:
        """End the service before anything else happens, see :func:`end_here`."""
        self._stopping = True
        if self._greenlet is not None:
            end_here(self._greenlet)

    @property
    def is_running(self) -> bool:
        return self._greenlet is not None and not self._greenlet.dead

    def wake(self) -> None:
        """End the current pause."""
        self._signal.set()

    def run_once(self) -> None:
        """Do one round; it may wait inside :meth:`resting`."""
        raise NotImplementedError

    def pause(self, seconds: float | None) -> bool:
        """Wait until somebody calls :meth:`wake`, at most ``seconds``; return whether one did."""
        with self.resting():
            is_woken = bool(self._signal.wait(seconds))
        self._signal.clear()
        return is_woken

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Mark a wait in which :meth:`stop` may end the service without further ado."""
        if self._stopping:
            raise GreenletExit
        self._resting = True
        try:
            yield
        finally:
            self._resting = False
        if self._stopping:
            raise GreenletExit

    def ended(self) -> None:
        """Release what the service holds; called when the rounds are over."""

    def _run(self) -> None:
        try:
            self._repeat()
        finally:
            self.ended()

    def _repeat(self) -> None:
        # A forked child inherits the greenlets; it must not go on with the parent's work.
        while not self._stopping and os.getpid() == self._pid:
            try:
                self.run_once()
            except GreenletExit:
                return
            except Exception as error:
                try:
                    self._ride_out(error)
                except GreenletExit:
                    return
            else:
                if self._failures:
                    self._recovered()

    def _ride_out(self, error: Exception) -> None:
        delay = min(self.max_delay, self.min_delay * 2 ** min(self._failures, 16))
        delay *= random.uniform(0.5, 1.0)
        self._failures += 1
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, RedisUnavailable):
            # The guard tells the operator; one line per service and partition would bury it.
            logger.debug("%s: %s; next attempt in %.2f s", self.name, text, delay)
        elif not isinstance(error, RedisError):
            logger.error("%s failed; it goes on in %.2f s", self.name, delay, exc_info=error)
        elif text != self._last_trouble:
            logger.error("%s: %s; it tries again until this is put right", self.name, text)
        self._last_trouble = text
        self.pause(delay)

    def _recovered(self) -> None:
        logger.debug("%s works again after %s failed rounds", self.name, self._failures)
        self._failures = 0
        self._last_trouble = ""
