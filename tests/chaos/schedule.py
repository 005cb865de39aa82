"""Which fault comes when: decided by the seed alone, before anything starts."""

from __future__ import annotations

import random
from typing import NamedTuple

from .faults import FAULTS


class Planned(NamedTuple):
    """One planned fault; ``key`` seeds its own choices."""

    at: float
    name: str
    key: str


def plan(seed: int, topology: str, seconds: float, pause: float, only: list[str]) -> list[Planned]:
    """Return the faults of a run.

    Their number follows from length and pause, and every kind is among them.

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
    count = max(1, int(seconds / pause))
    # Each kind comes for certain, in a long run several times; the rest is chance.
    rounds = max(1, min(6, count // len(names) // 3))
    drawn = names * rounds + rng.choices(names, weights, k=max(0, count - rounds * len(names)))
    rng.shuffle(drawn)
    planned: list[Planned] = []
    at = 1.0
    for name in drawn:
        planned.append(Planned(at, name, f"{seed}:{len(planned)}"))
        at += rng.expovariate(1 / pause)
    # The gaps are random; their sum is not.
    stretch = (seconds - 1.0) / at
    planned = [one._replace(at=1.0 + one.at * stretch) for one in planned]
    return planned
