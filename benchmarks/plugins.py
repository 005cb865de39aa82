"""What a plug-in costs that is told of every task, beside the same drain without one."""

from .drain import hold, release
from .harness import Bench, Metrics, Place


def measure(bench: Bench, metrics: Metrics) -> None:
    """Drain a queue without a plug-in, with one that only ticks, and with one that listens."""
    count = bench.size(100_000, 300)
    for round_ in range(bench.rounds):
        bench.say(f"round {round_ + 1}: {count:,} tasks")
        for name in ("none", "idle", "listening"):
            with bench.place() as place:
                cost = _drain(place, name, count)
                metrics.add(f"worker CPU, plug-in: {name}", cost, "µs/task")


def _drain(place: Place, plugin: str, count: int) -> float:
    worker = place.worker(plugin=plugin)
    names = place.helpers.keys.partitions[0]
    before = place.client.llen(names.end_queue)
    hold(place, count)
    cpu = worker.cpu
    release(place)
    place.wait(lambda: place.client.llen(names.end_queue) - before >= count)
    return (worker.cpu - cpu) / count * 1e6
