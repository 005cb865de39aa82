"""The tasks of a chaos run; each tells the history what it does, and under which token."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import gevent
from gevent.event import Event

from pytask.exceptions import RedisError, StopTask
from pytask.task import Task
from tests.chaos.history import Recorder


def _nobody(event: str, **details: Any) -> None:
    raise RuntimeError(f"{event}: the worker has not said where the history goes")


#: Environment variables that a worker sets for its children: where the history goes, and its own
#: process ID.
HISTORY, PARENT = "CHAOS_HISTORY", "CHAOS_WORKER"
_IN_CHILD = HISTORY in os.environ and os.environ.get(PARENT) != str(os.getpid())
#: Set by the worker before it starts.
record: Callable[..., None] = Recorder(os.environ[HISTORY], "child") if _IN_CHILD else _nobody
#: The worker that runs tasks here, in this process or in its child.
WORKER = int(os.environ[PARENT]) if _IN_CHILD else None
#: Descriptor of the tally of this process, also set by the worker.
tallies = -1


class Chaos(Task):
    """Tells its start, its effect, and how it was stopped."""

    NAME: ClassVar[str] = ""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def start(self) -> dict[str, Any]:
        self.tell("start")
        self.work()
        self.tell("effect")
        return {"token": self.token}

    def work(self) -> None:
        """Do what makes this kind."""

    def tell(self, event: str) -> None:
        record(event, id=self.id, token=self.token, pid=WORKER or os.getpid())


class Quick(Chaos):
    NAME = "chaos/quick"


class Tally(Chaos):
    """Tells its start in four bytes, the number after the first letter of its ID."""

    NAME = "chaos/tally"

    def start(self) -> None:  # type: ignore[override]
        os.write(tallies, struct.pack("<I", int(self.id[1:])))


class Sleep(Chaos):
    NAME = "chaos/sleep"

    def work(self) -> None:
        gevent.sleep(self.seconds)


class OnLoop(Chaos):
    NAME = "chaos/loop"

    async def start(self) -> dict[str, Any]:  # type: ignore[override]
        self.tell("start")
        await asyncio.sleep(self.seconds)
        self.tell("effect")
        return {"token": self.token}


class InThread(Chaos):
    """Sleeps in a native thread, and looks whether it is to stop."""

    NAME = "chaos/thread"
    CONCURRENCY = "thread"

    def work(self) -> None:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            time.sleep(0.01)
            if self.should_stop():
                raise StopTask


class InChild(Chaos):
    """Sleeps in a child process of its worker, which is frozen with it, as a container would be."""

    NAME = "chaos/process"
    CONCURRENCY = "process"

    def work(self) -> None:
        for done in range(2):
            # Where the clock is faked, time.sleep() fails.
            select.select([], [], [], self.seconds / 2)
            # By the worker, which may not reach Redis.
            with suppress(RedisError):
                self.progress(done, 2)


class Fails(Chaos):
    NAME = "chaos/error"

    def work(self) -> None:
        raise self.Error({"token": self.token})


class Raises(Chaos):
    NAME = "chaos/exception"

    def work(self) -> None:
        raise ValueError(f"meant to happen, {self.token}")


class Hog(Chaos):
    """Computes without giving way, so that the hub of its worker stands still."""

    NAME = "chaos/hog"

    def work(self) -> None:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            pass


class Poison(Chaos):
    """Kills whoever runs it."""

    NAME = "chaos/poison"

    def work(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Stubborn(Chaos):
    """Does not let itself be interrupted."""

    NAME = "chaos/stubborn"

    def work(self) -> None:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            try:
                gevent.sleep(until - time.monotonic())
            except BaseException:
                self.tell("swallowed")


class Service(Chaos):
    """Runs until it is stopped, and shows every now and then that it does."""

    NAME = "chaos/service"

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(seconds)
        self._stopping = Event()

    def work(self) -> None:
        while not self._stopping.wait(0.25):
            self.tell("tick")

    def stop(self) -> None:
        self.tell("asked")
        self._stopping.set()


class Gated(Chaos):
    """Three at a time; shows for as long as it runs that it does."""

    NAME = "chaos/gated"
    MAX_CONCURRENCY = 3

    def work(self) -> None:
        self.hold("limit:chaos/gated", self.MAX_CONCURRENCY)

    def hold(self, pool: str, limit: int) -> None:
        until = time.monotonic() + self.seconds / 3
        while time.monotonic() < until:
            record("hold", id=self.id, token=self.token, pool=pool, limit=limit)
            gevent.sleep(0.02)


class Keyed(Gated):
    """One at a time for each key."""

    NAME = "chaos/keyed"
    MAX_CONCURRENCY = 0

    @staticmethod
    def CAN_OVERLAP(seconds: float) -> int:
        return int(seconds * 10_000) % 4

    def work(self) -> None:
        self.hold(f"overlap:chaos/keyed:{self.CAN_OVERLAP(self.seconds)}", 1)


class Timed(Chaos):
    """Starts by itself, until the harness wants quiet."""

    NAME = "chaos/timed"


ALL = [
    Quick,
    Tally,
    Sleep,
    OnLoop,
    InThread,
    InChild,
    Fails,
    Raises,
    Hog,
    Poison,
    Stubborn,
    Service,
    Gated,
    Keyed,
    Timed,
]


def handle(task_id: str, task: Mapping[str, str]) -> None:
    """The handler of Cleanup: remembers what it was given; fails now and then."""
    record(
        "handler",
        id=task_id,
        run=task.get("done_run", ""),
        state=task.get("state"),
        output=task.get("output", "")[:200],
    )
    if random.random() < 0.01:
        raise RuntimeError("the handler fails, and is asked again")
