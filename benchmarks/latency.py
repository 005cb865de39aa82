"""How long a task waits in an idle system: from the call of ``start_task`` to its first line."""

import random
import time

from .harness import Bench, Metrics, Place, at_most, percentile

#: Seconds between two tasks: the one before has ended, and the worker waits in BLMOVE again.
PAUSE = (0.003, 0.008)


def measure(bench: Bench, metrics: Metrics) -> None:
    """Start tasks one at a time on an idle worker."""
    count = bench.size(2_000, 30)
    for round_ in range(bench.rounds):
        bench.say(f"round {round_ + 1}: {count:,} tasks, one at a time")
        with bench.place() as place:
            # As in production: with what looks after the others in the same process.
            place.worker(local=["pytask/monitor", "pytask/cleanup"])
            waits = [1e3 * wait for wait in _waits(place, count)]
        metrics.add("enqueue to start, p50", percentile(waits, 50), "ms", at_most(1.5))
        metrics.add("enqueue to start, p99", percentile(waits, 99), "ms", at_most(5))
        metrics.add("enqueue to start, p99.9", percentile(waits, 99.9), "ms")


def _waits(place: Place, count: int) -> list[float]:
    helpers = place.helpers
    sent = {}
    for _ in range(count):
        time.sleep(random.uniform(*PAUSE))
        sent_at = time.monotonic()
        task_id = helpers.start_task("bench/stamp", cleanup=False)
        sent[task_id] = sent_at
    helpers.future(task_id).wait(timeout=30)
    waits = []
    for task_id, sent_at in sent.items():
        waits.append(float(helpers.get_task(task_id, "output") or "nan") - sent_at)
    return waits
