"""Servers, worker processes, and how results are written down."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from pytask import PyTaskHelpers
from tests.support import process
from tests.support.servers import Server
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[1]

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Target:
    """What a measurement should reach: at least or at most a limit."""

    text: str
    limit: float
    at_least: bool

    def met_by(self, value: float) -> bool:
        """Tell whether a value reaches it."""
        return value >= self.limit if self.at_least else value <= self.limit


def at_least(limit: float) -> Target:
    """Make a target for what should be large."""
    return Target(f">= {limit:,g}", limit, True)


def at_most(limit: float) -> Target:
    """Make a target for what should be small."""
    return Target(f"<= {limit:,g}", limit, False)


@dataclass
class Metric:
    """One number, measured in several rounds."""

    name: str
    unit: str
    target: Target | None = None
    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The result."""
        return statistics.median(self.rounds)

    def as_json(self) -> dict[str, Any]:
        """Return what goes into the result file."""
        target = self.target
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.rounds),
            "max": max(self.rounds),
            "rounds": self.rounds,
            "target": target.text if target else None,
            "met": target.met_by(self.median) if target else None,
        }


class Metrics:
    """The numbers of one benchmark, in the order they were first declared."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, str], Metric] = {}

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        target: Target | None = None,
        *,
        part_of: str = "",
    ) -> None:
        """Add what one round measured.

        Args:
            name: For the table; indented by two spaces if it is a detail of the one above.
            value: The number.
            unit: Of the number.
            target: What it should reach.
            part_of: Tells details of the same name apart.
        """
        metric = self.all.setdefault((part_of, name), Metric(name, unit, target))
        metric.rounds.append(value)


class Worker:
    """A worker process under measurement.

    Args:
        url: Of its Redis.
        local: Names of tasks it runs as local ones.
        plugin: Which plug-in it has: none, idle, or listening.
        **options: Options of its app.
    """

    def __init__(
        self, url: str, *, local: Sequence[str] = (), plugin: str = "none", **options: Any
    ) -> None:
        configuration = {
            "redis": url,
            "options": options,
            "local": list(local),
            "plugin": plugin,
        }
        self.started_at = time.monotonic()
        self._process = process.spawn(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(configuration)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )
        self.pid = self._process.pid

    def wait_ready(self, helpers: PyTaskHelpers) -> None:
        """Wait until it runs tasks."""
        helpers.submit("bench/noop", cleanup=False, watch=True).wait(timeout=60)

    @property
    def cpu(self) -> float:
        """Seconds of CPU it has used, all threads."""
        return cpu_of(self.pid)

    @property
    def rss(self) -> int:
        """Bytes of memory it occupies."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def stop(self, timeout: float = 120.0) -> float:
        """Ask it to end and return how many seconds that took."""
        began_at = time.monotonic()
        self._process.terminate()
        self._process.wait(timeout)
        return time.monotonic() - began_at

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, whatever it does."""
        process.end(self._process, patience=10)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU a process has used, all threads."""
    # In nanoseconds, where the better known /proc/PID/stat counts hundredths of a second.
    nanoseconds = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError):  # it ended just now
            nanoseconds += int(thread.read_text().split()[0])
    return nanoseconds / 1e9


class Bench:
    """What a benchmark is given.

    Args:
        server_kind: ``valkey`` or ``redis``.
        quick: Tiny sizes, one round: to see that it works.
        rounds: How often to measure.
        say: Told what is going on.
    """

    def __init__(
        self, server_kind: str, quick: bool, rounds: int, say: Callable[[str], None]
    ) -> None:
        self.server_kind = server_kind
        self.quick = quick
        self.rounds = 1 if quick else rounds
        self.say = say

    def size(self, full: int, quick: int) -> int:
        """Return the size to measure with."""
        return quick if self.quick else full

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Start a server of its own."""
        with ExitStack() as stack:
            server = stack.enter_context(Server(self.server_kind))
            helpers = PyTaskHelpers(server.url)
            stack.callback(helpers.connector.close)
            yield Place(server, helpers, stack)


@dataclass
class Place:
    """A server, the means to start tasks there, and workers that end with it."""

    server: Server
    helpers: PyTaskHelpers
    _stack: ExitStack

    def worker(self, *, ready: bool = True, **options: Any) -> Worker:
        """Start a worker; it runs tasks when this returns, unless ``ready`` is false."""
        worker = Worker(self.server.url, **options)
        self._stack.callback(worker.close)
        if ready:
            worker.wait_ready(self.helpers)
        return worker

    @property
    def client(self) -> "redis.Redis":
        """A plain redis-py client, as an application would make it."""
        client: redis.Redis = self.helpers.redis
        return client

    @property
    def server_cpu(self) -> float:
        """Seconds of CPU the server has used."""
        assert self.server.process is not None
        return cpu_of(self.server.process.pid)

    def calls(self) -> dict[str, int]:
        """Return how often each command was carried out, those of scripts included."""
        stats = self.server.info("commandstats")
        return {
            name.removeprefix("cmdstat_"): int(values.split("calls=")[1].split(",")[0])
            for name, values in stats.items()
        }

    def wait(self, condition: Callable[[], Any], timeout: float = 300.0) -> float:
        """Wait for a condition; return when it was found to hold, on the monotonic clock."""
        wait_until(condition, timeout, interval=0.002)
        return time.monotonic()


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that ``percent`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
