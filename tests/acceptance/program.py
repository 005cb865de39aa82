"""The worker that acceptance tests start: ``program.py ADDRESS OPTIONS [MONITOR]``, as JSON."""

# ruff: noqa: E402  (patching has to come before the imports below it)
from gevent import monkey

monkey.patch_all()

import json
import logging
import os
import signal
import sys
import time

import gevent

from pytask import Cleanup, Monitor, PyTask, Task
from tests.support.clients import read_address
from tests.support.tell import tell


class Sleeper(Task):
    """Tells when it starts and ends; sleeps in between."""

    NAME = "sleeper"

    def __init__(self, seconds: float = 600, first: float | None = None) -> None:
        self.seconds = seconds
        #: Sleep so long at the first attempt only.
        self.first = first

    def start(self) -> int:
        tell("started", id=self.id, attempt=self.attempt)
        try:
            sleep_where_this_can_be_found(
                self.first if self.first is not None and self.attempt == 1 else self.seconds
            )
            return os.getpid()
        finally:
            tell("ended", id=self.id, attempt=self.attempt)


def sleep_where_this_can_be_found(seconds: float) -> None:
    time.sleep(seconds)


class Ticker(Task):
    """Has an effect every few milliseconds, for as long as it is allowed to."""

    NAME = "ticker"

    def start(self) -> None:
        try:
            while True:
                tell("tick", id=self.id, attempt=self.attempt, at=time.time(), pid=os.getpid())
                time.sleep(0.02)
        finally:
            tell("last tick", id=self.id, attempt=self.attempt)


class SlowToStop(Sleeper):
    NAME = "slow-to-stop"

    def stop(self) -> None:
        tell("stopping", id=self.id)
        time.sleep(600)


class Poison(Task):
    """Kills its worker."""

    NAME = "poison"

    def start(self) -> None:
        tell("poisoned", attempt=self.attempt)
        os.kill(os.getpid(), signal.SIGKILL)


class Computes(Task):
    """Does not give way for a while, or until there is a file, at its first attempt."""

    NAME = "computes"

    def __init__(self, seconds: float, file: str = "") -> None:
        self.seconds = seconds
        self.file = file

    def start(self) -> None:
        tell("computing")
        until = time.monotonic() + (self.seconds if self.attempt == 1 else 0)
        while time.monotonic() < until and not (self.file and os.path.exists(self.file)):
            pass
        tell("computed")


class Forks(Task):
    """Forks a child that lets its copy of the hub run."""

    NAME = "forks"

    def __init__(self, lasts: float = 2.0) -> None:
        self.lasts = lasts

    def start(self) -> int:
        child = os.fork()
        if child == 0:
            gevent.sleep(self.lasts)
            tell("child", pid=os.getpid())
            os._exit(0)
        tell("forked", child=child)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            gevent.sleep(0.05)
        return child


def main() -> None:
    address = read_address(sys.argv[1])
    options = json.loads(sys.argv[2])
    app = PyTask(address, **options)
    app.add_tasks(Sleeper, Ticker, SlowToStop, Poison, Computes, Forks, Monitor, Cleanup)
    for name in sys.argv[3:]:
        app.start_local_task(name)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    tell("ready", worker=app.worker_id)
    app.run()
    tell("returned")


if __name__ == "__main__":
    main()
