"""Very many tasks that wait, in one worker: what they weigh, and whether their leases are kept."""

import time
from typing import Any

from .harness import Bench, Metrics, Place, Worker, at_most


def measure(bench: Bench, metrics: Metrics) -> None:
    """Fill one worker, watch its leases, and stop it."""
    count = bench.size(100_000, 200)
    # Every task goes through the same growth of memory: one round says it all.
    for _ in range(min(bench.rounds, 1)):
        for task, name in (("bench/sleep", "sleeping task"), ("bench/sleep-asyncio", "coroutine")):
            with bench.place() as place:
                _measure_once(bench, place, metrics, count, task, name)


def _measure_once(
    bench: Bench, place: Place, metrics: Metrics, count: int, task: str, name: str
) -> None:
    interval = 1.0 if bench.quick else 5.0
    worker = place.worker(concurrency=count + 10, update_task_interval=interval)
    leases = place.helpers.keys.partitions[0].leases
    bench.say(f"starting {count:,} tasks {task}")
    empty = worker.rss
    began_at = time.monotonic()
    place.helpers.start_tasks({"task": task} for _ in range(count))
    place.wait(lambda: place.client.zcard(leases) >= count)
    started_in = time.monotonic() - began_at
    bench.say("watching their leases")
    oldest, cores = _watch_leases(place, worker, leases, rounds=3 * interval)
    kilobytes = (worker.rss - empty) / count / 1024
    bench.say("stopping the worker")
    stopped_in = worker.stop()
    back = place.client.llen(place.helpers.keys.partitions[0].new_queue())

    metrics.add(f"memory of a {name}", kilobytes, "KB", at_most(12), part_of=task)
    for detail, value, unit, target in (
        ("oldest lease while they sleep", oldest, "s", at_most(interval)),
        ("worker CPU while they sleep", 100 * cores, "% of a core", None),
        ("all enqueued and started in", started_in, "s", None),
        ("all stopped and requeued in", stopped_in, "s", None),
        ("not requeued", count - back, "tasks", at_most(0)),
    ):
        metrics.add(f"  {detail}", value, unit, target, part_of=task)


def _watch_leases(place: Place, worker: Worker, leases: str, rounds: float) -> tuple[float, float]:
    """Return the age of the oldest lease in so many seconds, and the cores the worker used."""
    began_at, cpu, oldest = time.monotonic(), worker.cpu, 0.0
    while time.monotonic() < began_at + rounds:
        seconds, microseconds = place.client.time()
        first: Any = place.client.zrange(leases, 0, 0, withscores=True)
        oldest = max(oldest, seconds + microseconds / 1e6 - first[0][1])
        time.sleep(0.05)
    return oldest, (worker.cpu - cpu) / (time.monotonic() - began_at)
