"""Tasks that misbehave, beside those of :mod:`tests.acceptance.program`."""

import ctypes
import multiprocessing
import os
import sys
import time
from typing import Any

import gevent

from pytask import Task
from tests.support.tell import tell


class Echo(Task):
    """Tells of itself and returns what it was given."""

    NAME = "echo"

    def __init__(self, value: object = None, seconds: float = 0) -> None:
        self.value = value
        self.seconds = seconds

    def start(self) -> object:
        tell("echo", id=self.id, attempt=self.attempt, pid=os.getpid())
        if self.seconds:
            time.sleep(self.seconds)
        return self.value


class Deaf(Task):
    """Does not obey anybody."""

    NAME = "deaf"

    def start(self) -> None:
        tell("deaf", id=self.id)
        while True:
            try:
                while True:
                    time.sleep(0.05)
            except BaseException as error:
                tell("ignored", error=type(error).__name__)


class Deadly(Task):
    """Ends its whole worker, in the ways that Python code cannot catch."""

    NAME = "deadly"

    def __init__(self, how: str) -> None:
        self.how = how

    def start(self) -> None:
        tell("dying", attempt=self.attempt)
        if self.how == "segfault":
            ctypes.string_at(0)
        os._exit(9)


class Devours(Task):
    """Takes memory until there is none left."""

    NAME = "devours"

    def start(self) -> None:
        pieces = []
        while True:
            pieces.append(bytearray(8 * 1024 * 1024))


class Forks(Task):
    """Leaves a child behind that has a copy of the hub, and lets it turn."""

    NAME = "forks-and-stays"

    def __init__(self, how: str) -> None:
        self.how = how

    def start(self) -> None:
        if self.how == "multiprocessing":
            child = multiprocessing.get_context("fork").Process(target=turn)
            child.start()
            tell("forked", child=child.pid)
        else:
            pid = os.fork()
            if pid == 0:
                turn()
                os._exit(0)
            tell("forked", child=pid)
        time.sleep(600)


def turn() -> None:
    tell("turning", pid=os.getpid())
    gevent.sleep(60)


class TakesAllFiles(Task):
    """Opens files until no descriptor is left, and closes them when it is stopped."""

    NAME = "takes-all-files"

    def start(self) -> None:
        files = []
        try:
            while True:
                try:
                    files.append(os.open("/dev/null", os.O_RDONLY))
                    continue
                except OSError as error:
                    if len(files) and not getattr(self, "told", False):
                        self.told = True
                        tell("exhausted", error=str(error))
                # Whatever pytask closes is taken as well.
                time.sleep(0.01)
        finally:
            for one in files:
                os.close(one)


class Wrong(Task):
    """Goes wrong in a way of your choice."""

    NAME = "wrong"

    def __init__(self, how: str) -> None:
        self.how = how
        if how == "init":
            raise ValueError("in __init__")

    def start(self) -> Any:
        if self.how == "start":
            raise ValueError("in start")
        if self.how == "error":
            raise self.Error("as planned")
        if self.how == "exit":
            sys.exit(3)
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "base":
            raise BaseException("at the root")
        if self.how == "set":
            return {1, 2}
        if self.how == "nan":
            return float("nan")
        if self.how == "large":
            return "x" * 100_000_000
        if self.how == "deep":
            return self.start()
        return None


class WrongStop(Task):
    """Cannot even be stopped without trouble."""

    NAME = "wrong-stop"

    def start(self) -> None:
        tell("started", id=self.id, attempt=self.attempt)
        time.sleep(600)

    def stop(self) -> None:
        raise ValueError("in stop")
