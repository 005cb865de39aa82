"""More processes, more partitions, more tasks in one process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.harness import Bench, Worker, cpu_of
from pytask import PyTaskHelpers
from tests.support.cluster import Cluster
from tests.support.servers import Server
from tests.support.waiting import wait_until

from .growth import Point

PROCESSES = (1, 2, 4)
PARTITIONS = (1, 2, 4, 8, 16)
SLEEPERS = (1_000, 10_000, 100_000)
_WARM_UP = 1_000


def measure_processes(bench: Bench) -> list[Point]:
    """Drain one queue on one server with so many worker processes."""
    count, points = bench.size(100_000, 400), []
    for processes in PROCESSES:
        rounds = []
        for round_ in range(bench.rounds):
            bench.say(f"{processes} processes, round {round_ + 1}")
            with Server(bench.server_kind) as server:
                rounds.append(_drain([server], server.url, count, processes, {}))
        points.append({"processes": processes, **_medians(rounds)})
    return points


def measure_partitions(bench: Bench) -> list[Point]:
    """Drain a cluster of three masters with one worker process, and leave it alone."""
    count, points = bench.size(50_000, 400), []
    for partitions in PARTITIONS[: 1 if bench.quick else None]:
        rounds = []
        for round_ in range(bench.rounds):
            bench.say(f"{partitions} partitions, round {round_ + 1}")
            with Cluster(masters=3, replicas=0, kind=bench.server_kind) as cluster:
                options = {"partitions": partitions}
                rounds.append(_drain(cluster.nodes, cluster.url, count, 1, options, bench))
        points.append({"partitions": partitions, **_medians(rounds)})
    return points


def measure_sleepers(bench: Bench) -> list[Point]:
    """Put so many tasks to sleep in one process, and see what their leases cost."""
    points = []
    for count in (100, 200) if bench.quick else SLEEPERS:
        bench.say(f"{count:,} sleeping tasks")
        with Server(bench.server_kind) as server, _fleet(server.url, 1, {}) as (helpers, _):
            empty = _rss_of_a_worker(server, helpers)
            options = {"concurrency": count + 10}
            with _workers(server.url, helpers, 1, options) as (worker,):
                helpers.start_tasks({"task": "bench/sleep"} for _ in range(count))
                leases = helpers.keys.partitions[0].leases
                _wait_for_leases(helpers, leases, count)
                time.sleep(0.5 if bench.quick else 2.0)
                cpu, server_cpu, began_at = worker.cpu, cpu_of(server.pid), time.monotonic()
                time.sleep(1.0 if bench.quick else 15.0)
                seconds = time.monotonic() - began_at
                points.append(
                    {
                        "tasks": count,
                        "kilobytes": (worker.rss - empty) / count / 1024,
                        "worker.cpu": 100 * (worker.cpu - cpu) / seconds,
                        "server.cpu": 100 * (cpu_of(server.pid) - server_cpu) / seconds,
                    }
                )
                # It would take its time to give them all back.
                worker.kill()
    return points


def _wait_for_leases(helpers: PyTaskHelpers, leases: str, count: int) -> None:
    wait_until(lambda: helpers.redis.zcard(leases) >= count, 120)


def _drain(
    servers: Sequence[Server],
    url: str,
    count: int,
    processes: int,
    options: dict[str, Any],
    bench: Bench | None = None,
) -> Point:
    point: Point = {}
    with _fleet(url, processes, options) as (helpers, workers):
        if bench is not None:
            _watch_idle(servers, workers[0], point, 1.0 if bench.quick else 10.0)
        parts = helpers.keys.partitions
        before = sum(helpers.redis.llen(part.end_queue) for part in parts)
        helpers.start_tasks({"task": "bench/noop", "queue": "held"} for _ in range(count))
        cpu, server_cpu = _cpu(workers), sum(cpu_of(server.pid) for server in servers)
        began_at = time.monotonic()
        for part in parts:
            if helpers.redis.exists(part.new_queue("held")):
                helpers.redis.rename(part.new_queue("held"), part.new_queue())
        wait_until(
            lambda: sum(helpers.redis.llen(part.end_queue) for part in parts) - before >= count,
            300,
            interval=0.005,
        )
        seconds = time.monotonic() - began_at
        server_cpu = sum(cpu_of(server.pid) for server in servers) - server_cpu
        point["rate"] = count / seconds
        point["worker.us"] = 1e6 * (_cpu(workers) - cpu) / count
        point["server.us"] = 1e6 * server_cpu / count
    return point


def _watch_idle(servers: Sequence[Server], worker: Worker, point: Point, seconds: float) -> None:
    time.sleep(seconds / 4)
    before, cpu = sum(map(_calls, servers)), worker.cpu
    time.sleep(seconds)
    own = len(servers)
    point["idle.commands"] = (sum(map(_calls, servers)) - before - own) / seconds
    point["idle.cpu"] = 100 * (worker.cpu - cpu) / seconds


def _calls(server: Server) -> int:
    stats = server.info("commandstats")
    return sum(int(values.split("calls=")[1].split(",")[0]) for values in stats.values())


def _cpu(workers: Sequence[Worker]) -> float:
    return sum(worker.cpu for worker in workers)


def _medians(rounds: list[Point]) -> Point:
    return {name: sorted(one[name] for one in rounds)[len(rounds) // 2] for name in rounds[0]}


def _rss_of_a_worker(server: Server, helpers: PyTaskHelpers) -> int:
    with _workers(server.url, helpers, 1, {}) as (worker,):
        # The first tasks bring what stays: code, connections, room for the next ones.
        end_queue = helpers.keys.partitions[0].end_queue
        before = helpers.redis.llen(end_queue)
        helpers.start_tasks({"task": "bench/noop"} for _ in range(_WARM_UP))
        wait_until(lambda: helpers.redis.llen(end_queue) - before >= _WARM_UP, 60)
        return worker.rss


@contextmanager
def _fleet(
    url: str, processes: int, options: dict[str, Any]
) -> Iterator[tuple[PyTaskHelpers, list[Worker]]]:
    helpers = PyTaskHelpers(url, **options)
    try:
        with _workers(url, helpers, processes, options) as workers:
            yield helpers, workers
    finally:
        helpers.connector.close()


@contextmanager
def _workers(
    url: str, helpers: PyTaskHelpers, processes: int, options: dict[str, Any]
) -> Iterator[list[Worker]]:
    with ExitStack() as stack:
        workers = []
        for _ in range(processes):
            worker = Worker(url, **options)
            stack.callback(worker.close)
            workers.append(worker)
        wait_until(lambda: len(helpers.store.list_workers()) >= processes, 60)
        workers[0].wait_ready(helpers)
        yield workers
