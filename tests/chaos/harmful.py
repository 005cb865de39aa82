"""Tasks of a chaos run that are hard on their worker, or want to be run again."""

from __future__ import annotations

import os
import signal
import sys

import gevent

from pytask.task import Retry

from . import tasks
from .tasks import Chaos

_MEGABYTE = 1 << 20


class Again(Chaos):
    """Fails twice in a way that deserves another attempt, then succeeds."""

    NAME = "chaos/again"
    MAX_RETRIES = 2

    def work(self) -> None:
        if self.attempt < 3:
            raise Retry({"token": self.token}, delay=self.seconds)


class Limited(Chaos):
    """May not run for as long as it often wants to."""

    NAME = "chaos/limited"
    TIMEOUT = 0.4

    def work(self) -> None:
        gevent.sleep(self.seconds * 2)


class Forks(Chaos):
    """Leaves a child behind that lets its copy of the hub turn; the first time its worker dies."""

    NAME = "chaos/fork"

    def work(self) -> None:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            # Whatever happens to the hub of the child, it does not stay.
            signal.alarm(int(self.seconds) + 2)
            gevent.sleep(self.seconds)
            os._exit(0)
        tasks.record("forked", id=self.id, child=child)
        gevent.sleep(0.3)
        if self.attempt == 1:
            tasks.record("kill", pid=os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)


class Hungry(Chaos):
    """Takes memory and gives it back."""

    NAME = "chaos/hungry"

    def work(self) -> None:
        pieces = []
        for _ in range(32):
            pieces.append(bytearray(_MEGABYTE))
            gevent.sleep(self.seconds / 32)


ALL = [Again, Forks, Hungry, Limited]
