"""Two tasks: one that ends, and one that goes on until it is stopped."""

import time

import gevent

from pytask import Task


class Greet(Task):
    """Says hello; a name nobody can have is an expected failure."""

    NAME = "examples/greet"

    def __init__(self, name: str = "world") -> None:
        self.name = name

    def start(self) -> str:
        if not self.name:
            raise self.Error("nobody to greet")
        return f"hello {self.name}"


class Clock(Task):
    """Emits the time, with a greenlet for the work and a ``stop`` that ends it."""

    NAME = "examples/clock"

    def __init__(self, interval: float = 1.0) -> None:
        self.interval = interval

    def start(self) -> None:
        self.loop = gevent.spawn(self.work)
        self.loop.get()

    def stop(self) -> None:
        self.loop.kill()

    def work(self) -> None:
        while True:
            self.emit("tick", time.strftime("%H:%M:%S"))
            gevent.sleep(self.interval)
