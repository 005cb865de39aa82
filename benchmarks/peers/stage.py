"""One server, and the processes of one system at a time on it."""

from __future__ import annotations

import json
import mmap
import os
import select
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import redis

from benchmarks.harness import cpu_of
from tests.support import process
from tests.support.servers import Server

from .systems import System
from .venvs import environment_of

APPS = Path(__file__).parent / "apps"
#: Tasks that can tell when they began.
STAMPS = 200_000


class Failed(Exception):
    """A system did not do what it was to do; its log is in the message."""


class Stage:
    """The server all systems share, empty for each of them.

    Args:
        kind: ``redis`` or ``valkey``.
    """

    def __init__(self, kind: str) -> None:
        self.server = Server(kind, maxclients=15_000)
        self.server.start()
        self.client: Any = redis.Redis(host=self.server.host, port=self.server.port)
        self.directory = Path(tempfile.mkdtemp(prefix="bench-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def server_cpu(self) -> float:
        """Seconds of CPU the server has used."""
        return cpu_of(self.server.pid)

    def commands(self) -> int:
        """Return how many commands were carried out, those of scripts included."""
        return sum(int(stat["calls"]) for stat in self.client.info("commandstats").values())

    def round_trips(self) -> int:
        """Return how often the server has read what clients sent; a long request counts twice."""
        return int(self.client.info("stats")["total_reads_processed"])

    @contextmanager
    def system(self, system: System, concurrency: int | None = None) -> Iterator[Running]:
        """Give a system an empty server; its processes end with the block."""
        self.client.flushall()
        running = Running(self, system, concurrency or system.concurrency)
        try:
            yield running
        finally:
            running.close()


class Running:
    """The processes of one system.

    Args:
        stage: Where.
        system: Which.
        concurrency: Tasks at a time in its worker.
    """

    def __init__(self, stage: Stage, system: System, concurrency: int) -> None:
        self.stage = stage
        self.system = system
        self._stamps_file = stage.directory / f"{system.module}.stamps"
        self._stamps_file.write_bytes(bytes(8 * STAMPS))
        with self._stamps_file.open("r+b") as file:
            self._stamps = mmap.mmap(file.fileno(), 0)
        self.log = stage.directory / f"{system.module}.log"
        self.log.write_bytes(b"")
        self._bin = environment_of(system) / "bin"
        self._concurrency = concurrency
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "PYTHONPATH": str(APPS),
            "BENCH_REDIS": stage.server.url,
            "BENCH_STAMPS": str(self._stamps_file),
            "BENCH_CONCURRENCY": str(concurrency),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[int] = []
        #: How often Redis was asked how far the tasks are; those commands are not the system's.
        self.asked = 0

    def worker(self, without: Sequence[str] = ()) -> float:
        """Start a worker process, without some words of its command line; return when."""
        command = self.system.worker.format(n=self._concurrency, url=self.stage.server.url)
        words = [word for word in command.split() if word not in without]
        began_at = time.monotonic()
        with self.log.open("ab") as log:
            started = process.spawn(
                [str(self._bin / words[0]), *words[1:]],
                cwd=APPS,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes.append(started)
        self.workers.append(started.pid)
        return began_at

    def ready_worker(self, without: Sequence[str] = ()) -> DriverProcess:
        """Start a worker and a driver; return the driver when the worker runs tasks."""
        driver = self.driver()
        self.worker(without)
        # Twice: the first run of anything imports and connects.
        for index in (STAMPS - 1, STAMPS - 2):
            driver.ask("fill", name="stamp", count=1, numbered=True, first=index)
            self.wait(partial(self.began, index), 60, "a first task begins")
        return driver

    def driver(self) -> DriverProcess:
        """Start a client."""
        with self.log.open("ab") as log:
            started = process.spawn(
                [
                    str(self._bin / "python"),
                    str(Path(__file__).with_name("driver.py")),
                    self.system.module,
                ],
                cwd=APPS,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._processes.append(started)
        driver = DriverProcess(started, self)
        driver.ask("ready")
        return driver

    def began(self, index: int) -> float:
        """Return when a task began, or 0.0."""
        value: float = struct.unpack_from("d", self._stamps, 8 * index)[0]
        return value

    def begun(self, count: int) -> list[float]:
        """Return when those of the first ``count`` tasks that have begun did so."""
        return [at for at in struct.unpack_from(f"{count}d", self._stamps, 0) if at]

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> float:
        """Wait for something and return when it was seen.

        Raises:
            Failed: It has not come in time, or a process has ended.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"{self.system.name}: not within {seconds:g} s: {what}\n{self.tail()}")
            for one in self._processes:
                if one.poll() is not None:
                    raise Failed(f"{self.system.name}: a process has ended\n{self.tail()}")
            time.sleep(0.003)
        return time.monotonic()

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-3000:]

    # What is in Redis

    def done(self, base: Base) -> int:
        """Return how many tasks have been done since ``base``."""
        self.asked += 1
        if self.system.remaining is not None:
            return base.filled - int(self.stage.client.execute_command(*self.system.remaining))
        return self._stored() - base.stored

    def base(self, filled: int) -> Base:
        """Return what to count from; call it when nothing is running or waiting."""
        return Base(filled, self._stored())

    def _stored(self) -> int:
        if len(self.system.results) > 1:
            return int(self.stage.client.execute_command(*self.system.results))
        return int(self.stage.client.dbsize())

    def results(self) -> int:
        """Return how many results are stored."""
        if len(self.system.results) > 1:
            return int(self.stage.client.execute_command(*self.system.results))
        pattern = self.system.results[0]
        return sum(1 for _ in self.stage.client.scan_iter(match=pattern, count=5_000))

    # What the kernel knows

    @property
    def worker_cpu(self) -> float:
        """Seconds of CPU the worker has used, all its processes and threads."""
        return sum(cpu_of(pid) for pid in self._family())

    @property
    def worker_memory(self) -> int:
        """Bytes the worker occupies; memory that processes share counts once."""
        return sum(_proportional_set(pid) for pid in self._family())

    def _family(self) -> list[int]:
        found, queue = [], list(self.workers)
        while queue:
            pid = queue.pop()
            found.append(pid)
            for thread in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    queue += map(int, thread.read_text().split())
        return found

    def forget(self, ended: subprocess.Popen[bytes]) -> None:
        """Note that a process has ended as it should."""
        self._processes.remove(ended)

    def close(self) -> None:
        """End all processes; those of a worker's family included."""
        family = self._family()
        for one in reversed(self._processes):
            process.end(one, patience=0.5)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


class Base:
    """What to count from.

    Args:
        filled: Tasks that will be started.
        stored: Results, or keys, there were before.
    """

    def __init__(self, filled: int, stored: int) -> None:
        self.filled = filled
        self.stored = stored


class DriverProcess:
    """The client side, in the environment of its system.

    Args:
        started: The process.
        running: Whose.
    """

    def __init__(self, started: subprocess.Popen[bytes], running: Running) -> None:
        self._process = started
        self._running = running
        self._what = ""

    def ask(self, what: str, *, patience: float = 120.0, **arguments: Any) -> Any:
        """Have something done and return the answer."""
        self.begin(what, **arguments)
        return self.answer(patience)

    def begin(self, what: str, **arguments: Any) -> None:
        """Have something done; :meth:`answer` waits for it."""
        assert self._process.stdin is not None
        self._what = what
        self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._running.forget(self._process)

    def answer(self, patience: float = 120.0) -> Any:
        """Return the answer to what was asked last.

        Raises:
            Failed: None came.
        """
        assert self._process.stdout is not None
        if select.select([self._process.stdout], [], [], patience)[0]:
            line = self._process.stdout.readline()
            if line:
                return json.loads(line)
        tail = self._running.tail()
        raise Failed(f"{self._running.system.name}: no answer to {self._what}\n{tail}")


def _proportional_set(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
