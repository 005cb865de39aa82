"""A worker with a task of each mode: ``program_of_modes.py ADDRESS OPTIONS [MONITOR]``."""

# ruff: noqa: E402  (patching has to come before the imports below it)
from gevent import monkey

monkey.patch_all()

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import gevent

from pytask import Cleanup, Monitor, PyTask, Task
from pytask.tasks import ExecutePython
from tests.support.tell import tell

address: Any = json.loads(sys.argv[1])
if isinstance(address, list):
    address = [tuple(node) for node in address]
app = PyTask(address, **json.loads(sys.argv[2]))


class Effect(Task):
    """Leaves a file once it was allowed to end; how often, is what counts."""

    ABSTRACT = True

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)

    @property
    def may_end(self) -> bool:
        return (self.directory / "end").exists()

    def note(self, what: str) -> None:
        (self.directory / f"{what}-{self.NAME}-{self.attempt}-{os.getpid()}").touch()

    def start(self) -> None:
        self.note("began")
        while not self.may_end and not self.should_stop():
            time.sleep(0.02)
        if not self.should_stop():
            self.note("effect")


class InGreenlet(Effect):
    NAME = "greenlet"


class InThread(Effect):
    NAME = "thread"
    CONCURRENCY = "thread"


class InProcess(Effect):
    NAME = "process"
    CONCURRENCY = "process"


class OnLoop(Effect):
    NAME = "asyncio"

    async def start(self) -> None:  # type: ignore[override]
        self.note("began")
        while not self.may_end:
            await asyncio.sleep(0.02)
        self.note("effect")


class Commands(Effect):
    NAME = "shell"

    def start(self) -> None:
        self.note("began")
        self.shell(f"while [ ! -e {self.directory}/end ]; do sleep 0.02; done")
        self.note("effect")


class Forks(Task):
    """Forks a copy of the worker that lets its hub run until a file is there."""

    NAME = "forks"

    def __init__(self, until: str) -> None:
        self.until = until

    def start(self) -> int:
        child = os.fork()
        if child == 0:
            while not os.path.exists(self.until) and os.getppid() != 1:
                gevent.sleep(0.02)
            os._exit(0)
        Path(self.until + ".forked").touch()
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            gevent.sleep(0.05)
        return child


class Asks(Task):
    """Asks for something in a child, whose standard library this module has patched."""

    NAME = "asks"
    CONCURRENCY = "process"

    def start(self) -> bool:
        return bool(self.redis.exists("nothing"))


@app.task(concurrency="process")
def square(number: int) -> int:
    logging.getLogger("squares").info("squaring %s", number)
    return number * number


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    app.add_tasks(InGreenlet, InThread, InProcess, OnLoop, Commands, Forks, Asks)
    app.add_tasks(ExecutePython)
    app.add_tasks(Monitor, Cleanup)
    for name in sys.argv[3:]:
        app.start_local_task(name)
    tell("ready", worker=app.worker_id)
    app.run()


if __name__ == "__main__":
    main()
