"""What is measured, for one system at a time. Each function takes one round's numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.harness import percentile

from .stage import Failed, Stage
from .systems import OURS, System


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        seconds: For how long to start tasks.
        drain: Most tasks to drain.
        sleeps: Tasks that sleep for 0.1 s.
        sleep_concurrency: How many of them at a time.
        probes: Most tasks whose latency is taken.
        probe_seconds: The longest that may last.
        sleepers: Tasks asleep when memory is measured.
        many_sleepers: The same for us.
        idle_seconds: How long to watch an idle worker.
        rest_seconds: How long it has had nothing to do by then.
        settle_seconds: How long a worker is left alone before it is weighed.
    """

    seconds: float = 1.5
    drain: int = 20_000
    sleeps: int = 5_000
    sleep_concurrency: int = 1_000
    probes: int = 1_000
    probe_seconds: float = 8.0
    sleepers: int = 10_000
    many_sleepers: int = 100_000
    idle_seconds: float = 10.0
    rest_seconds: float = 10.0
    settle_seconds: float = 2.0


FULL = Sizes()
QUICK = Sizes(0.1, 2_000, 100, 50, 10, 2.0, 100, 200, 1.0, 0.5, 0.5)

#: Seconds a nap takes where the time is measured, and where it only has to last.
NAP, LONG = 0.1, 3600.0
#: Tasks/s that everybody gets beside the probes.
EQUAL_LOAD = 300.0


@dataclass(frozen=True)
class Metric:
    """One column of the results.

    Attributes:
        title: For people.
        unit: Of the numbers.
        lower: Whether less is better; None: neither, it is there to explain.
        target: Ratio to the best peer that is to be reached: ours is better by this factor.
        limit: An absolute number ours is to stay below.
    """

    title: str
    unit: str
    lower: bool | None = True
    target: float | None = None
    limit: float | None = None


METRICS = {
    "enqueue.rate": Metric("started one by one", "tasks/s", False, 1.0),
    "enqueue.commands": Metric("commands per task", "commands", None),
    "enqueue.bytes": Metric("Redis memory per waiting task", "bytes", None),
    "bulk.rate": Metric("started in bulk", "tasks/s", False, 5.0),
    "drain.rate": Metric("no-op tasks drained", "tasks/s", False, 10.0),
    "drain.worker_cpu": Metric("worker CPU", "µs/task"),
    "drain.server_cpu": Metric("server CPU", "µs/task"),
    "drain.commands": Metric("commands per task", "commands", None),
    "sleep.seconds": Metric("5,000 sleeps of 0.1 s, 1,000 at a time (ideal: 0.5)", "s"),
    "latency.p50": Metric("enqueue to start, idle, p50", "ms", True, 1.0),
    "latency.p99": Metric("enqueue to start, idle, p99", "ms", True, 1.0),
    "latency.p99.9": Metric("enqueue to start, idle, p99.9", "ms"),
    "load.p50": Metric("at half of its own drain rate, p50", "ms"),
    "load.p99": Metric("at half of its own drain rate, p99", "ms"),
    "load.rate": Metric("tasks started beside the probes", "tasks/s", None),
    "equal.p50": Metric("beside 300 tasks/s, p50", "ms"),
    "equal.p99": Metric("beside 300 tasks/s, p99", "ms"),
    "memory.coroutine": Metric("memory per sleeping coroutine, 10,000 asleep", "KB", True, 1.0),
    "memory.greenlet": Metric("memory per sleeping greenlet, 10,000 asleep", "KB", True, 1.0),
    "memory.coroutines": Metric("memory per sleeping coroutine, 100,000 asleep", "KB", None),
    "memory.greenlets": Metric("memory per sleeping greenlet, 100,000 asleep", "KB", None),
    "memory.worker": Metric("memory of a worker with nothing to do", "MB"),
    "startup.seconds": Metric("start of the process to first task", "s"),
    "idle.commands": Metric("commands of an idle worker", "commands/s", True, None, 5.0),
    "idle.round_trips": Metric("round-trips of an idle worker", "1/s", True, None, 5.0),
    "idle.cpu": Metric("CPU of an idle worker", "% of a core", True, None, 0.5),
    "idle.server_cpu": Metric("CPU of the server beside it", "% of a core"),
}

Numbers = dict[str, float]


def enqueue(stage: Stage, system: System, sizes: Sizes, _: Numbers) -> Numbers:
    """Start tasks one by one; nobody takes them."""
    with stage.system(system) as running:
        driver = running.driver()
        driver.ask("fill", name="noop", count=50)
        used, commands = _used_memory(stage), stage.commands()
        done = driver.ask("one_by_one", seconds=sizes.seconds)
        count = done["count"]
        return {
            "enqueue.rate": count / done["seconds"],
            "enqueue.commands": (stage.commands() - commands - 1) / count,
            "enqueue.bytes": (_used_memory(stage) - used) / count,
        }


def bulk(stage: Stage, system: System, sizes: Sizes, _: Numbers) -> Numbers:
    """Start tasks with whatever the system has for many at a time."""
    with stage.system(system) as running:
        driver = running.driver()
        driver.ask("fill", name="noop", count=50)
        done = driver.ask("bulk", seconds=sizes.seconds)
        return {"bulk.rate": done["count"] / done["seconds"]}


def drain(stage: Stage, system: System, sizes: Sizes, _: Numbers) -> Numbers:
    """Start a worker on a full queue; the clock runs from the first twentieth to the last task."""
    count = min(sizes.drain, system.drain)
    with stage.system(system) as running:
        driver, base = running.driver(), running.base(count)
        driver.ask("fill", name="noop", count=count, patience=300)
        driver.close()
        commands = stage.commands()
        running.worker()
        first = [0]

        def begun() -> bool:
            first[0] = running.done(base)
            return first[0] >= count / 20

        began_at = running.wait(begun, 120, "a twentieth of the tasks is done")
        before = (running.worker_cpu, stage.server_cpu)
        ended_at = running.wait(lambda: running.done(base) >= count, 300, "all tasks are done")
        after = (running.worker_cpu, stage.server_cpu)
        commands = stage.commands() - commands - 1 - running.asked
        running.wait(lambda: running.results() >= count, 10, f"{count} results are in Redis")
        # At tiny sizes all may be over at the first look.
        tasks = max(1, count - first[0])
        cpu, server_cpu = (b - a for a, b in zip(before, after, strict=True))
        return {
            "drain.rate": tasks / max(1e-6, ended_at - began_at),
            "drain.worker_cpu": 1e6 * cpu / tasks,
            "drain.server_cpu": 1e6 * server_cpu / tasks,
            "drain.commands": commands / count,
        }


def sleep(stage: Stage, system: System, sizes: Sizes, _: Numbers) -> Numbers:
    """Let very many tasks wait at a time, from the start of the first to the last result."""
    count = sizes.sleeps
    with stage.system(system, sizes.sleep_concurrency) as running:
        driver, base = running.driver(), running.base(count)
        driver.ask("fill", name="nap", count=count, args=[NAP], numbered=True, patience=120)
        driver.close()
        running.worker()
        ended_at = running.wait(lambda: running.done(base) >= count, 120, "all tasks are done")
        return {"sleep.seconds": ended_at - min(running.begun(count))}


def latency(stage: Stage, system: System, sizes: Sizes, _: Numbers) -> Numbers:
    """Start tasks one at a time on an idle worker."""
    with stage.system(system) as running:
        driver = running.ready_worker()
        waits = _waits(driver.ask("probe", count=sizes.probes, seconds=sizes.probe_seconds))
        return {
            "latency.p50": percentile(waits, 50),
            "latency.p99": percentile(waits, 99),
            "latency.p99.9": percentile(waits, 99.9),
        }


def load(stage: Stage, system: System, sizes: Sizes, known: Numbers) -> Numbers:
    """The same while another client keeps the worker busy."""
    found: Numbers = {}
    # Without a drain in this run there is no half of its rate.
    own = known.get("drain.rate", 2 * EQUAL_LOAD) / 2
    for name, rate in (("load", own), ("equal", EQUAL_LOAD)):
        with stage.system(system) as running:
            driver, other = running.ready_worker(), running.driver()
            seconds = sizes.probe_seconds / 2
            other.begin("load", rate=rate, seconds=seconds)
            found |= _probe_under_load(name, driver.ask, sizes)
            sent = other.answer()
            if name == "load":
                found["load.rate"] = sent["count"] / sent["seconds"]
    return found


def _probe_under_load(
    name: str, ask: Callable[..., dict[str, list[float]]], sizes: Sizes
) -> Numbers:
    seconds = sizes.probe_seconds / 2
    settle = seconds / 8
    waits = _waits(
        ask("probe", count=sizes.probes, seconds=seconds - 2 * settle, first=1_000, settle=settle)
    )
    return {f"{name}.p50": percentile(waits, 50), f"{name}.p99": percentile(waits, 99)}


def memory(stage: Stage, system: System, sizes: Sizes, _: Numbers) -> Numbers:
    """Put a worker to sleep on very many tasks and weigh it against one without."""
    with stage.system(system, 10) as running:
        running.ready_worker()
        time.sleep(sizes.settle_seconds / 2)
        empty = running.worker_memory
    found = {"memory.worker": empty / 2**20}
    for kind, nap in system.naps.items():
        found[f"memory.{kind}"] = _weigh(stage, system, sizes, nap, sizes.sleepers, empty)
        if system.name == OURS:
            many = _weigh(stage, system, sizes, nap, sizes.many_sleepers, empty)
            found[f"memory.{kind}s"] = many
    return found


def _weigh(stage: Stage, system: System, sizes: Sizes, nap: str, count: int, empty: int) -> float:
    with stage.system(system, count + 100) as running:
        driver = running.driver()
        driver.ask("fill", name=nap, count=count, args=[LONG], numbered=True, patience=120)
        running.worker()
        running.wait(lambda: len(running.begun(count)) >= count, 90, f"{count} tasks sleep")
        time.sleep(sizes.settle_seconds / 2)
        return (running.worker_memory - empty) / count / 1024


def startup(stage: Stage, system: System, _sizes: Sizes, _: Numbers) -> Numbers:
    """Start a worker for a task that waits already."""
    with stage.system(system) as running:
        running.driver().ask("fill", name="stamp", count=1, numbered=True)
        began_at = running.worker()
        running.wait(lambda: running.began(0) > 0, 60, "the first task begins")
        return {"startup.seconds": running.began(0) - began_at}


def idle(stage: Stage, system: System, sizes: Sizes, _: Numbers) -> Numbers:
    """Watch a worker that has nothing to do."""
    with stage.system(system) as running:
        running.ready_worker(system.idle_without).close()
        # What is done once, after the start, is not what it costs all day.
        time.sleep(sizes.rest_seconds)
        commands, trips = stage.commands(), stage.round_trips()
        cpu, server_cpu = running.worker_cpu, stage.server_cpu
        began_at = time.monotonic()
        time.sleep(sizes.idle_seconds)
        seconds = time.monotonic() - began_at
        used = {
            "idle.cpu": 100 * (running.worker_cpu - cpu) / seconds,
            "idle.server_cpu": 100 * (stage.server_cpu - server_cpu) / seconds,
        }
        return {
            # Our own questions are not theirs.
            "idle.round_trips": (stage.round_trips() - trips - 1) / seconds,
            "idle.commands": (stage.commands() - commands - 3) / seconds,
            **used,
        }


def _used_memory(stage: Stage) -> int:
    return int(stage.client.info("memory")["used_memory"])


def _waits(answer: dict[str, list[float]]) -> list[float]:
    """Return milliseconds; a task that never began is a failure, not an outlier."""
    waits = answer["waits"]
    if "stuck" in answer or not waits:
        raise Failed(f"a task had not begun after 10 s; {len(waits)} others had")
    return [1e3 * wait for wait in waits]


Workload = Callable[[Stage, System, Sizes, Numbers], Numbers]

#: In this order within a round; a drain tells what half of the load is.
WORKLOADS: dict[str, Workload] = {
    "enqueue": enqueue,
    "bulk": bulk,
    "drain": drain,
    "sleep": sleep,
    "latency": latency,
    "load": load,
    "startup": startup,
    "idle": idle,
    "memory": memory,
}

#: Measured once: growth of memory is the same every time, and takes long.
ONCE = frozenset({"memory"})
