"""What starting a task costs the program that does it, beside a bare call of redis-py.

The bare calls are what an application would write itself: an LPUSH, which stores an ID and nothing
else, and an EVALSHA of the very script that ``start_task`` runs, with the same arguments.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from pytask.connection.retry import Patience
from pytask.records import NewTask, new_task_id
from pytask.scripts import load
from pytask.settings import Settings
from pytask.store import Store

from .harness import Bench, Metrics, Place, at_least


def measure(bench: Bench, metrics: Metrics) -> None:
    """Start tasks one by one and in bulk."""
    singles = bench.size(10_000, 100)
    bulk = bench.size(100_000, 500)
    for round_ in range(bench.rounds):
        bench.say(f"round {round_ + 1}: {singles:,} one by one, {bulk:,} in bulk")
        with bench.place() as place:
            _one_by_one(place, metrics, singles)
        with bench.place() as place:
            requests = [("bench/noop", {"number": number}) for number in range(bulk)]
            began_at = time.monotonic()
            place.helpers.start_tasks(requests)
            rate = bulk / (time.monotonic() - began_at)
            metrics.add("start_tasks, in bulk", rate, "tasks/s", at_least(100_000))


def _one_by_one(place: Place, metrics: Metrics, count: int) -> None:
    client, helpers = place.client, place.helpers
    calls = _captured_calls(place, count)
    client.script_load(load("enqueue").source)
    helpers.start_task("bench/noop", number=-1)

    # In slices that take turns, because a machine is not equally fast all the time.
    spent = {"start_task": 0.0, "LPUSH": 0.0, "EVALSHA": 0.0}
    step = max(1, count // 20)
    for start in range(0, count, step):
        numbers = range(start, min(count, start + step))
        spent["start_task"] += _time(lambda n: helpers.start_task("bench/noop", number=n), numbers)
        spent["LPUSH"] += _time(lambda n: client.lpush("bare", n), numbers)
        spent["EVALSHA"] += _time(lambda n: client.evalsha(*calls[n]), numbers)

    rates = {name: count / seconds for name, seconds in spent.items()}
    metrics.add("start_task, one by one", rates["start_task"], "tasks/s")
    for name in ("LPUSH", "EVALSHA"):
        metrics.add(f"  redis-py {name}", rates[name], "calls/s")
    for name in ("LPUSH", "EVALSHA"):
        ratio = 100 * rates["start_task"] / rates[name]
        metrics.add(f"  start_task : {name}", ratio, "%", at_least(80))


def _time(call: Callable[[int], Any], numbers: Iterable[int]) -> float:
    began_at = time.perf_counter()
    for number in numbers:
        call(number)
    return time.perf_counter() - began_at


class _Recorder:
    """Takes the calls of a store instead of a link."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []

    def evalsha(
        self, sha: str, source: str, keys: list[Any], args: list[Any], *rest: Any
    ) -> list[int]:
        self.calls.append([sha, len(keys), *keys, *args])
        return [1]


def _captured_calls(place: Place, count: int) -> list[list[Any]]:
    """Return the arguments of EVALSHA that start so many tasks."""
    recorder = _Recorder()
    store = Store(recorder, place.helpers.keys, Settings(), Patience(0))  # type: ignore[arg-type]
    for number in range(count):
        store.enqueue([NewTask(new_task_id(), "bench/noop", b'{"number":%d}' % number)])
    return recorder.calls
