"""How many masters and workers some load needs, from what was measured, and whether that holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .fit import Curve, fit
from .growth import Point

#: Seconds between two refreshes of a lease: EARLY of the default update_task_interval.
REFRESH = 3.75
#: Of a core of a master, or of a worker; the rest is for peaks, fail-overs and upkeep.
SHARE = 0.6
#: Memory for data on one master, and for tasks in one worker process.
MASTER_BYTES, WORKER_BYTES = 16e9, 4e9


@dataclass(frozen=True)
class Costs:
    """What one task costs.

    Attributes:
        enqueue: Microseconds of a master for one task.
        run: The same for claim and finish.
        heartbeat: The same for one refresh of a lease.
        waiting: Bytes of a master for one that waits.
        active: The same for one that runs.
        worker: Microseconds of a worker for one no-op task.
        asleep: Bytes of a worker for one that sleeps.
        keeping: Share of a worker core that the leases of one sleeping task take.
    """

    enqueue: float
    run: float
    heartbeat: float
    waiting: float
    active: float
    worker: float
    asleep: float
    keeping: float


@dataclass(frozen=True)
class Need:
    """What a load needs."""

    masters: int
    masters_because: str
    workers: int
    workers_because: str


def curves_of(points: list[Point], skip_last: bool = False) -> dict[str, Curve]:
    """Fit every column of a part over its number of tasks."""
    used = points[:-1] if skip_last else points
    sizes = [point["tasks"] for point in used]
    names = [name for name in points[0] if name.endswith((".us", "bytes", "kilobytes", ".cpu"))]
    return {name: fit(sizes, [point[name] for point in used]) for name in names}


def costs_of(parts: dict[str, list[Point]], at: float = 1e6) -> Costs:
    """Read the costs off the fitted curves, for so many tasks on a master."""
    waiting, active = curves_of(parts["waiting"]), curves_of(parts["active"])
    sleeping = parts["sleepers"][-1]

    def cost(part: str, curves: dict[str, Curve], name: str) -> float:
        # A curve that falls at small sizes must not be followed below what was ever measured.
        return max(curves[name].at(at), min(point[name] for point in parts[part]))

    return Costs(
        enqueue=cost("waiting", waiting, "enqueue.us"),
        run=cost("waiting", waiting, "claim.us") + cost("waiting", waiting, "finish.us"),
        heartbeat=cost("active", active, "heartbeat.us"),
        waiting=cost("waiting", waiting, "bytes"),
        active=cost("active", active, "bytes"),
        worker=parts["processes"][0]["worker.us"],
        asleep=1024 * sleeping["kilobytes"],
        keeping=sleeping["worker.cpu"] / 100 / sleeping["tasks"],
    )


def need(costs: Costs, *, active: float, waiting: float, per_second: float) -> Need:
    """Return what a load needs.

    Args:
        costs: Of one task.
        active: Tasks that run at a time, and mostly wait.
        waiting: Tasks in queues.
        per_second: Short tasks that come and go each second.
    """
    masters = {
        "short tasks": per_second * (costs.enqueue + costs.run) / 1e6 / SHARE,
        "leases": active / REFRESH * costs.heartbeat / 1e6 / SHARE,
        "memory": (active * costs.active + waiting * costs.waiting) / MASTER_BYTES,
    }
    workers = {
        "short tasks": per_second * costs.worker / 1e6 / SHARE,
        "leases": active * costs.keeping / SHARE,
        "memory": active * costs.asleep / WORKER_BYTES,
    }
    # Leases and short tasks share the cores; memory is another matter.
    cores = masters["short tasks"] + masters["leases"]
    worker_cores = workers["short tasks"] + workers["leases"]
    return Need(
        max(1, math.ceil(max(cores, masters["memory"]))),
        max(masters, key=lambda name: masters[name]),
        max(1, math.ceil(max(worker_cores, workers["memory"]))),
        max(workers, key=lambda name: workers[name]),
    )


@dataclass(frozen=True)
class Check:
    """A prediction beside what was measured.

    Attributes:
        what: Of what.
        predicted: From smaller sizes, or other measurements.
        measured: The number.
        unit: Of both.
    """

    what: str
    predicted: float
    measured: float
    unit: str

    @property
    def deviation(self) -> float:
        """By how much the prediction is off, in per cent."""
        return 100 * (self.predicted / self.measured - 1) if self.measured else 0.0


def checks_of(parts: dict[str, list[Point]], cores: int) -> list[Check]:
    """Predict the largest size from the smaller ones, and the processes from one."""
    checks = []
    for part, columns in (
        ("waiting", ("bytes", "enqueue.us", "claim.us", "finish.us")),
        ("active", ("bytes", "heartbeat.us", "reap.us")),
        ("delayed", ("bytes", "delay.us", "promote.us")),
    ):
        curves, last = curves_of(parts[part], skip_last=True), parts[part][-1]
        for name in columns:
            unit = "bytes" if name == "bytes" else "µs"
            what = f"{part}, {name.removesuffix('.us')} at {last['tasks']:,.0f}"
            checks.append(Check(what, curves[name].at(last["tasks"]), last[name], unit))
    first = parts["processes"][0]
    for point in parts["processes"][1:]:
        # The cores here carry the workers and the server; on machines of its own, the server alone.
        rate = min(
            point["processes"] * first["rate"],
            1e6 / first["server.us"],
            cores * 1e6 / (first["worker.us"] + first["server.us"]),
        )
        what = f"tasks/s of {point['processes']:g} processes on these {cores} cores"
        checks.append(Check(what, rate, point["rate"], "tasks/s"))
    return checks


#: Loads the page gives answers for: active, waiting, per second.
LOADS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("1 million services that wait", {"active": 1e6, "waiting": 0, "per_second": 0}),
    ("10 million services that wait", {"active": 1e7, "waiting": 0, "per_second": 0}),
    ("100 million services that wait", {"active": 1e8, "waiting": 0, "per_second": 0}),
    ("10 million waiting in queues", {"active": 0, "waiting": 1e7, "per_second": 0}),
    ("100 million waiting in queues", {"active": 0, "waiting": 1e8, "per_second": 0}),
    ("10,000 short tasks/s", {"active": 0, "waiting": 1e6, "per_second": 1e4}),
    ("100,000 short tasks/s", {"active": 0, "waiting": 1e6, "per_second": 1e5}),
    (
        "1 million services, 50,000 short tasks/s",
        {"active": 1e6, "waiting": 1e6, "per_second": 5e4},
    ),
)
