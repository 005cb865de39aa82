"""Which fault comes when: decided by the seed alone, before anything starts."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .faults import FAULTS


@dataclass(frozen=True)
class Planned:
    """One planned fault; ``key`` seeds its own choices."""

    at: float
    name: str
    key: str


def plan(seed: int, topology: str, seconds: float, pause: float, only: list[str]) -> list[Planned]:
    """Return the faults of a run.

    Every kind comes once before any comes by chance; in a long run, several times.

    Args:
        seed: Of the run.
        topology: Where it runs.
        seconds: How long faults are injected.
        pause: Seconds between two of them, on average.
        only: Names of faults to limit it to; empty: all of the topology.
    """
    rng = random.Random(f"{seed}:{topology}")
    kinds = [
        fault
        for fault in FAULTS.values()
        if topology in fault.topologies and (not only or fault.name in only)
    ]
    names, weights = [fault.name for fault in kinds], [fault.weight for fault in kinds]
    rounds = max(1, min(6, int(seconds / pause / len(names) / 3)))
    pending = [name for _ in range(rounds) for name in rng.sample(names, len(names))]
    planned: list[Planned] = []
    at = 1.0
    while at < seconds:
        name = pending.pop() if pending else rng.choices(names, weights)[0]
        planned.append(Planned(at, name, f"{seed}:{len(planned)}"))
        at += rng.expovariate(1 / pause)
    return planned
