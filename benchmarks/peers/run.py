"""Rounds of all workloads, the systems taking turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.report import machine

from .stage import Failed, Stage
from .systems import System
from .venvs import prepare
from .workloads import ONCE, WORKLOADS, Numbers, Sizes

Say = Callable[[str], None]


class Results:
    """What has been measured: for each metric and system the number of each round."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}
        self.absent: dict[str, dict[str, str]] = {}
        self.known: dict[str, Numbers] = {}

    def add(self, system: str, numbers: Numbers) -> None:
        """Add what one round of one workload came to."""
        self.known.setdefault(system, {}).update(numbers)
        for metric, value in numbers.items():
            self.values.setdefault(metric, {}).setdefault(system, []).append(value)


def measure(
    systems: Sequence[System],
    names: Sequence[str],
    *,
    sizes: Sizes,
    rounds: int,
    server: str,
    upgrade: bool,
    say: Say,
) -> dict[str, Any]:
    """Measure and return what goes into the result file.

    Args:
        systems: Which.
        names: Of workloads.
        sizes: How much.
        rounds: How often.
        server: ``redis`` or ``valkey``.
        upgrade: Bring the environments up to date first.
        say: Told what is going on.
    """
    versions = {}
    for system in systems:
        if not system.environment:
            versions[system.name] = prepare(system, say, upgrade=upgrade)
    results, began_at, load = Results(), time.monotonic(), os.getloadavg()[0]
    with Stage(server) as stage:
        info = stage.client.info("server")
        for round_ in range(rounds):
            for name in names:
                if name in ONCE and round_:
                    continue
                # Each round begins with another system.
                turn = round_ % len(systems)
                for system in (*systems[turn:], *systems[:turn]):
                    _measure_one(stage, system, name, sizes, results, say, round_)
    return {
        "server": f"{server} {info.get('valkey_version') or info['redis_version']}",
        "machine": {**machine(), "load_before": load, "load_after": os.getloadavg()[0]},
        "seconds": time.monotonic() - began_at,
        "rounds": rounds,
        "sizes": vars(sizes),
        "systems": {one.name: _about(one, versions.get(one.name, {}), sizes) for one in systems},
        "values": results.values,
        "absent": results.absent,
    }


def _about(system: System, versions: dict[str, str], sizes: Sizes) -> dict[str, Any]:
    return {
        "versions": versions,
        "command": system.worker,
        "settings": list(system.settings),
        "concurrency": system.concurrency,
        "drain": min(sizes.drain, system.drain),
    }


def _measure_one(
    stage: Stage, system: System, name: str, sizes: Sizes, results: Results, say: Say, round_: int
) -> None:
    if name in system.absent:
        results.absent.setdefault(name, {})[system.name] = system.absent[name]
        return
    began_at = time.monotonic()
    try:
        numbers = WORKLOADS[name](stage, system, sizes, results.known.get(system.name, {}))
    except Failed as failure:
        # It stays visible in the results, and the others are measured all the same.
        results.absent.setdefault(name, {})[system.name] = f"failed: {str(failure).splitlines()[0]}"
        say(f"{name} {system.name} FAILED: {failure}")
        return
    results.add(system.name, numbers)
    spent = time.monotonic() - began_at
    first = next(iter(numbers.items()))
    say(f"round {round_ + 1} {name:8} {system.name:10} {spent:5.1f} s  {first[0]} {first[1]:,.4g}")
