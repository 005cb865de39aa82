"""How many tasks that do nothing one worker process gets through, with all their state in Redis."""

import time

from .harness import Bench, Metrics, Place, Target, at_least


def measure(bench: Bench, metrics: Metrics) -> None:
    """Drain a queue, without and with a Cleanup in the same worker."""
    count = bench.size(100_000, 300)
    for round_ in range(bench.rounds):
        bench.say(f"round {round_ + 1}: {count:,} tasks")
        with bench.place() as place:
            _drain(place, metrics, count, "bench/noop", "no-op tasks", at_least(25_000))
        with bench.place() as place:
            _drain(place, metrics, count, "bench/noop-asyncio", "no-op coroutines", None)
        with bench.place() as place:
            _drain_and_forget(place, metrics, count)


def _drain(
    place: Place, metrics: Metrics, count: int, task: str, name: str, target: Target | None
) -> None:
    worker = place.worker()
    names = place.helpers.keys.partitions[0]
    before = place.client.llen(names.end_queue)
    hold(place, count, task)
    cpu, server_cpu = worker.cpu, place.server_cpu
    began_at = release(place)
    ended_at = place.wait(lambda: place.client.llen(names.end_queue) - before >= count)
    used, server_used = worker.cpu - cpu, place.server_cpu - server_cpu
    metrics.add(name, count / (ended_at - began_at), "tasks/s", target, part_of=task)
    metrics.add("  worker CPU", used / count * 1e6, "µs/task", part_of=task)
    metrics.add("  server CPU", server_used / count * 1e6, "µs/task", part_of=task)


def _drain_and_forget(place: Place, metrics: Metrics, count: int) -> None:
    worker = place.worker(local=["pytask/cleanup"])
    names = place.helpers.keys.partitions[0]
    hold(place, count)
    cpu = worker.cpu
    began_at = release(place)
    place.wait(lambda: not place.client.exists(names.new_queue()))
    # All records are gone but those of Cleanup itself and of the first task.
    ended_at = place.wait(lambda: place.client.dbsize() < 30)
    rate = count / (ended_at - began_at)
    metrics.add("no-op tasks, forgotten by Cleanup", rate, "tasks/s")
    metrics.add("  worker CPU, Cleanup included", (worker.cpu - cpu) / count * 1e6, "µs/task")


def hold(place: Place, count: int, task: str = "bench/noop") -> None:
    """Enqueue tasks where nobody looks."""
    place.helpers.start_tasks({"task": task, "queue": "held"} for _ in range(count))


def release(place: Place) -> float:
    """Let the worker have them all at once; return when."""
    names = place.helpers.keys.partitions[0]
    began_at = time.monotonic()
    place.client.rename(names.new_queue("held"), names.new_queue())
    return began_at
