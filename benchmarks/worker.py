"""The worker that is measured: ``python -m benchmarks.worker '{"redis": URL, ...}'``."""

from gevent import monkey

monkey.patch_all()

import asyncio  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

from pytask import Cleanup, Monitor, Plugin, PyTask, Task, TaskSnapshot  # noqa: E402


class Noop(Task):
    """Does nothing: what is left is what a task costs."""

    NAME = "bench/noop"

    def start(self) -> None:
        pass


class Stamp(Task):
    """Tells when it began, on the clock all processes of a machine share."""

    NAME = "bench/stamp"

    def start(self) -> float:
        return time.monotonic()


class Sleep(Task):
    """Waits, as services do most of the time."""

    NAME = "bench/sleep"

    def __init__(self, seconds: float = 3600.0) -> None:
        self.seconds = seconds

    def start(self) -> None:
        time.sleep(self.seconds)


class AsyncNoop(Task):
    """The same, as a coroutine."""

    NAME = "bench/noop-asyncio"

    async def start(self) -> None:
        pass


class AsyncSleep(Sleep):
    """The same, as a coroutine."""

    NAME = "bench/sleep-asyncio"

    async def start(self) -> None:  # type: ignore[override]
        await asyncio.sleep(self.seconds)


class Counts(Plugin):
    """Is told of every task, and does as little with it as possible."""

    def __init__(self) -> None:
        self.count = 0

    def store_message(self, task: TaskSnapshot, event: str) -> None:
        self.count += 1


PLUGINS = {"idle": Plugin, "listening": Counts}


def main(words: list[str]) -> None:
    """Run a worker as the first word, a JSON object, says."""
    configuration = json.loads(words[0])
    # Nothing here is worth a disk.
    logging.getLogger("pytask.worker.servers").setLevel(logging.ERROR)
    app = PyTask(configuration["redis"], **configuration["options"])
    app.add_tasks(Noop, AsyncNoop, Stamp, Sleep, AsyncSleep, Monitor, Cleanup)
    if configuration["plugin"] in PLUGINS:
        app.add_plugin(PLUGINS[configuration["plugin"]]())
    for name in configuration["local"]:
        app.start_local_task(name)
    app.run()


if __name__ == "__main__":
    main(sys.argv[1:])
