"""What one task costs the server while more and more others are there.

The server's own CPU time is taken, from the kernel: it does not depend on who else runs beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.harness import Bench, Place
from benchmarks.monitor import FILL, FILL_BATCH
from pytask.records import Claimed, NewTask, Outcome, new_task_id
from pytask.states import State

Point = dict[str, float]

SIZES = (1_000, 10_000, 100_000, 300_000, 1_000_000)
QUICK_SIZES = (200, 400, 800)
#: Tasks by which a cost is measured.
SAMPLE = 4_000
_LONG_AGO, _VERY_LONG = 7_200.0, 3_600.0


def measure_waiting(bench: Bench) -> list[Point]:
    """Enqueue, claim and finish while so many tasks wait in the same queue."""
    with _empty(bench) as (place, probe):
        base, points = probe.memory(), []
        for size, sample in _grow(bench, lambda count: _enqueue(place, count)):
            point: Point = {"tasks": size, "bytes": (probe.memory() - base) / size}
            with probe.cost(point, "enqueue", sample):
                _enqueue(place, sample)
            claimed: list[Claimed] = []
            with probe.cost(point, "claim", sample):
                while len(claimed) < sample:
                    claimed += _claim(place, min(200, sample - len(claimed)))
            with probe.cost(point, "finish", sample):
                place.helpers.store.finish(
                    0, [Outcome(one.task_id, one.token, State.SUCCESS, b"1") for one in claimed]
                )
            # What has ended must not count as waiting.
            for one in claimed:
                place.client.delete(place.helpers.keys.of(one.task_id).record(one.task_id))
            place.client.delete(place.helpers.keys.partitions[0].end_queue)
            points.append(point)
        return points


def measure_active(bench: Bench) -> list[Point]:
    """Refresh the leases of so many running tasks, and let the Monitor look at them."""
    with _empty(bench) as (place, probe):
        crowd, base, points = _Crowd(place), probe.memory(), []
        store = place.helpers.store
        for size, sample in _grow(bench, lambda count: crowd.add(count, 0.0)):
            point: Point = {"tasks": size, "bytes": (probe.memory() - base) / size}
            began_at = time.monotonic()
            with probe.cost(point, "heartbeat", size):
                refused = store.heartbeat(0, crowd.all())
            point["heartbeat.seconds"] = time.monotonic() - began_at
            point["heartbeat.refused"] = len(refused)
            with probe.cost(point, "look", 20):
                for _ in range(20):
                    _reap(place)
            stale = min(sample, 1_000)
            crowd.add(stale, _LONG_AGO, forget=True)
            with probe.cost(point, "reap", stale):
                point["reap.missed"] = stale - _reap(place)
            _forget_waiting(place)
            points.append(point)
        return points


def measure_delayed(bench: Bench) -> list[Point]:
    """Delay and promote while so many tasks are delayed."""
    with _empty(bench) as (place, probe):
        base, points = probe.memory(), []
        store = place.helpers.store
        for size, sample in _grow(bench, lambda count: _enqueue(place, count, _VERY_LONG)):
            point: Point = {"tasks": size, "bytes": (probe.memory() - base) / size}
            with probe.cost(point, "look", 100):
                for _ in range(100):
                    store.promote(0)
            with probe.cost(point, "delay", sample):
                _enqueue(place, sample, 0.001)
            time.sleep(0.01)
            moved = 0
            with probe.cost(point, "promote", sample):
                while (found := store.promote(0).moved) > 0:
                    moved += found
            point["promote.missed"] = sample - moved
            _forget_waiting(place)
            points.append(point)
        return points


class _Probe:
    """Takes what the server says of itself and the kernel of it."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def memory(self) -> int:
        """Return the bytes the data take."""
        return int(self._place.server.info("memory")["used_memory"])

    @contextmanager
    def cost(self, point: Point, what: str, count: int) -> Iterator[None]:
        """Enter microseconds of server CPU for each of ``count``, and its commands."""
        cpu, calls = self._place.server_cpu, sum(self._place.calls().values())
        yield
        point[f"{what}.us"] = 1e6 * (self._place.server_cpu - cpu) / count
        # The question how many there were is one itself.
        point[f"{what}.commands"] = (sum(self._place.calls().values()) - calls - 1) / count


@contextmanager
def _empty(bench: Bench) -> Iterator[tuple[Place, _Probe]]:
    with bench.place() as place:
        # Connections, scripts and the first pages of memory are not what grows.
        for _ in range(1 if bench.quick else 20):
            _enqueue(place, 200)
            place.helpers.store.finish(
                0,
                [
                    Outcome(one.task_id, one.token, State.SUCCESS, b"1")
                    for one in _claim(place, 200)
                ],
            )
        place.client.flushdb()
        yield place, _Probe(place)


def _grow(bench: Bench, add: Callable[[int], Any]) -> Iterator[tuple[int, int]]:
    there = 0
    for size in QUICK_SIZES if bench.quick else SIZES:
        bench.say(f"{size:,} tasks")
        add(size - there)
        there = size
        yield size, min(SAMPLE, size)


def _enqueue(place: Place, count: int, delay: float = 0.0) -> None:
    for start in range(0, count, 10_000):
        some = range(start, min(count, start + 10_000))
        place.helpers.store.enqueue(
            [NewTask(new_task_id(), "bench/noop", b'{"number":1}', delay=delay) for _ in some]
        )


def _claim(place: Place, limit: int) -> list[Claimed]:
    return place.helpers.store.claim(
        0, worker="bench", queues=["default"], limit=limit, request=new_task_id()
    ).claimed


def _forget_waiting(place: Place) -> None:
    names: Any = place.helpers.keys.partitions[0]
    for one in place.client.lrange(names.new_queue(), 0, -1):
        place.client.delete(names.record_prefix + one)
    place.client.delete(names.new_queue())


def _reap(place: Place) -> int:
    """Do what the Monitor does at one look; return how many were taken back."""
    reaped = 0
    while True:
        round_ = place.helpers.store.reap(
            0, task_timeout=_VERY_LONG, worker_timeout=_VERY_LONG, limit=200
        )
        reaped += len(round_.reaped)
        if round_.examined < 200 or not round_.reaped:
            return reaped


class _Crowd:
    """Running tasks of a worker that does not exist."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._names = place.helpers.keys.partitions[0]
        self._fill = place.client.register_script(FILL)
        self._count = 0
        self._stale = 0

    def add(self, count: int, age: float, *, forget: bool = False) -> None:
        """Add tasks whose leases are ``age`` seconds old; forget those that are to be reaped."""
        seconds, microseconds = self._place.client.time()
        at = seconds + microseconds / 1e6 - age
        first = 10_000_000 + self._stale if forget else self._count
        for done in range(0, count, FILL_BATCH):
            size = min(FILL_BATCH, count - done)
            self._fill(
                keys=[self._names.tasks, self._names.leases],
                args=[first + done, size, at, 0, "bench", self._names.record_prefix],
            )
        if forget:
            self._stale += count
        else:
            self._count += count

    def all(self) -> list[tuple[str, str]]:
        """Return ID and token of each."""
        return [(f"bench-{number}", f"1-{number}") for number in range(self._count)]
