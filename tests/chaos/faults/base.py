"""What a fault is, and what it is given to do harm with."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.support.servers import Server

from ..admin import Admin
from ..fleet import Fleet, Member
from ..history import Recorder
from ..surroundings import Surroundings
from ..targets import Target
from ..zones import Zone

ALL = frozenset({"single", "sentinel", "cluster"})


class Timeline:
    """What is still to be done, and when; one thread does everything."""

    def __init__(self) -> None:
        self._steps: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, step: Callable[[], Any]) -> None:
        heapq.heappush(self._steps, (time.monotonic() + seconds, next(self._numbers), step))

    def run_due(self) -> None:
        while self._steps and self._steps[0][0] <= time.monotonic():
            heapq.heappop(self._steps)[2]()

    def run_all(self) -> None:
        """Do what is left at once: the faults are over, and what they left is healed."""
        while self._steps:
            heapq.heappop(self._steps)[2]()

    @property
    def next_in(self) -> float:
        return self._steps[0][0] - time.monotonic() if self._steps else 1.0


@dataclass
class Scene:
    """Everything a fault may touch."""

    target: Target
    fleet: Fleet
    zones: list[Zone]
    client_zone: Zone
    record: Recorder
    timeline: Timeline
    settings: dict[str, Any]
    #: Starts tasks past all proxies: given requests as ``start_tasks`` takes them.
    submit: Callable[[list[dict[str, Any]]], None]
    #: Holds queues back and flushes them, past all proxies.
    admin: Admin
    #: What single workers have: clocks that can be set, links that can go down.
    surroundings: Surroundings
    #: What is disturbed at the moment, by kind of resource.
    busy: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    _healthy: bool = False
    _looked_at: float = float("-inf")

    def is_healthy(self) -> bool:
        """Whether all servers answer and agree, as of the last third of a second."""
        if time.monotonic() - self._looked_at > 0.3:
            self._healthy = self.target.is_healthy()
            self._looked_at = time.monotonic()
        return self._healthy

    @property
    def is_served(self) -> bool:
        """Whether no server is disturbed at present."""
        return "servers" not in self.busy

    def start(self, name: str, count: int = 1, **data: Any) -> bool:
        """Start tasks; not while a server is disturbed, and it is said whether.

        One thread does everything: while it waits for an answer, what is to be healed by then stays
        as it is, for longer than the history says.
        """
        if not self.is_served:
            return False
        ids = [f"{name}-{next(self.numbers)}" for _ in range(count)]
        self.submit([{"task": f"chaos/{name}", "task_id": one, "data": data} for one in ids])
        return True

    def command(self, node: Server, *words: Any, timeout: float = 1.0) -> Any:
        """Send a command past all proxies; None if the server does not answer or refuses."""
        with suppress(redis.RedisError, OSError):
            return node.command(*words, timeout=timeout)
        return None

    def send(self, node: Server, *words: Any) -> None:
        """Send a command and do not wait for its end."""
        connection = redis.Connection(host=node.host, port=node.port, socket_timeout=1.0)
        with suppress(redis.RedisError, OSError):
            connection.connect()
            connection.send_command(*words)
            # The server executes what it has received before it sees the end of the connection;
            # closing later keeps it from noticing early.
            self.timeline.after(8.0, connection.disconnect)

    def pick_worker(self, rng: random.Random) -> Member | None:
        awake = list(self.fleet.awake_workers())
        return rng.choice(awake) if awake else None

    def pick_master(self, rng: random.Random) -> Server | None:
        masters = self.target.masters()
        return rng.choice(masters) if masters else None

    def hold(self, resource: str, seconds: float, heal: Callable[[], Any]) -> float:
        """Keep a resource busy until it is healed; return the seconds."""
        self.busy.add(resource)
        self._looked_at = float("-inf")

        def release() -> None:
            try:
                heal()
            finally:
                self.busy.discard(resource)

        self.timeline.after(seconds, release)
        return seconds


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: As it appears in schedule and report.
        area: ``worker``, ``network``, ``server``, ``topology``, ``data`` or ``client``.
        inject: Does it; returns the seconds it lasts, or None if it could not be done now.
        weight: How often, compared to the others.
        topologies: Where it can be done.
        exclusive: Not while a server is disturbed already.
        takes: For these, about how many seconds until the servers are well again.
        needs: What not every machine has: ``clock`` or ``link``, see :class:`Surroundings`.
    """

    name: str
    area: str
    inject: Callable[[Scene, random.Random], float | None]
    weight: float = 1.0
    topologies: frozenset[str] = ALL
    exclusive: bool = False
    takes: float = 1.6
    needs: str = ""
