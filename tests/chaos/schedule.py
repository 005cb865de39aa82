"""Which fault comes when: decided by the seed alone, before anything starts."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

from .faults import FAULTS, Fault

#: Most of the time that chance may have servers disturbed; a fleet that never rests shows little.
_SERVERS_SHARE = 0.3
#: How often each kind comes for certain in a long run.
_ROUNDS = 8


class Planned(NamedTuple):
    """One planned fault; ``key`` seeds its own choices."""

    at: float
    name: str
    key: str


def kinds_of(topology: str, only: Iterable[str] = (), without: Iterable[str] = ()) -> list[Fault]:
    """Return the faults there are for a topology.

    Args:
        topology: Where.
        only: Names to limit them to; empty: all.
        without: What this machine has not got, see :attr:`Fault.needs`.
    """
    return [
        fault
        for fault in FAULTS.values()
        if topology in fault.topologies
        and (not only or fault.name in only)
        and fault.needs not in without
    ]


def plan(
    seed: int, topology: str, seconds: float, pause: float, kinds: list[Fault]
) -> list[Planned]:
    """Return the faults of a run.

    Their number follows from length and pause, and every kind is among them.

    Args:
        seed: Of the run.
        topology: Where it runs.
        seconds: How long faults are injected.
        pause: Seconds between two of them, on average.
        kinds: The faults to choose from.
    """
    rng = random.Random(f"{seed}:{topology}")
    names = [fault.name for fault in kinds]
    count = max(1, int(seconds / pause))
    # Each kind comes for certain, in a long run several times; the rest is chance.
    rounds = max(1, min(_ROUNDS, count // len(names) // 3))
    drawn = names * rounds
    drawn += rng.choices(names, _weights(kinds, pause), k=max(0, count - len(drawn)))
    rng.shuffle(drawn)
    planned: list[Planned] = []
    at = 1.0
    for name in drawn:
        planned.append(Planned(at, name, f"{seed}:{len(planned)}"))
        at += rng.expovariate(1 / pause)
    # The gaps are random; their sum is not. What waits for its moment has some seconds at the end.
    stretch = (seconds - min(4.0, 0.1 * seconds) - 1.0) / at
    return [one._replace(at=1.0 + one.at * stretch) for one in planned]


def _weights(kinds: list[Fault], pause: float) -> list[float]:
    """Return how often each kind comes; not more of those that only come one at a time than fit."""
    total = sum(fault.weight for fault in kinds)
    share = sum(fault.weight * fault.takes for fault in kinds if fault.exclusive) / total / pause
    less = min(1.0, _SERVERS_SHARE / share) if share else 1.0
    return [fault.weight * (less if fault.exclusive else 1.0) for fault in kinds]
