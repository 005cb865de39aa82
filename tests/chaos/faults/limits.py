"""What a worker is refused by its machine: memory, descriptors, the right time, its network."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..fleet import Member
from .base import Fault, Scene

_MEGABYTE = 1 << 20
_HOUR = 3600.0


def _limit(scene: Scene, worker: Member, which: int, value: int, seconds: float) -> float:
    """Lower a limit of a running process, and put it back later."""
    pid = worker.pid
    assert pid is not None
    # It may end with whatever it could not have; the limits of the next one are its own.
    worker.excused = True
    before = resource.prlimit(pid, which, (value, resource.prlimit(pid, which)[1]))

    def lift() -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, which, before)

    scene.record("limit", pid=pid, slot=worker.number, seconds=seconds)
    return scene.hold(f"limits of worker {worker.number}", seconds, lift)


def _pick(scene: Scene, rng: random.Random) -> Member | None:
    worker = scene.pick_worker(rng)
    if worker is None or f"limits of worker {worker.number}" in scene.busy:
        return None
    return worker


def _memory(scene: Scene, rng: random.Random) -> float | None:
    worker = _pick(scene, rng)
    if worker is None or not scene.is_served:
        return None
    try:
        pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[0])
        if not pages:  # it has died, and nobody has noticed yet
            return None
        used = pages * resource.getpagesize()
        room = rng.choice((0, 1, 8)) * _MEGABYTE
        seconds = _limit(scene, worker, resource.RLIMIT_AS, used + room, rng.uniform(0.3, 2.0))
    except (OSError, IndexError):
        return None
    scene.start("hungry", 8, seconds=0.5)
    return seconds


def _descriptors(scene: Scene, rng: random.Random) -> float | None:
    worker = _pick(scene, rng)
    if worker is None:
        return None
    try:
        used = len(os.listdir(f"/proc/{worker.pid}/fd"))
        if not used:
            return None
        few = max(1, used + rng.choice((-4, 0, 1)))
        seconds = _limit(scene, worker, resource.RLIMIT_NOFILE, few, rng.uniform(0.5, 3.0))
    except OSError:
        return None
    # What was connected is gone, and cannot be had again at once.
    scene.zones[worker.number].disconnect()
    return seconds


def _clock(
    jump: Callable[[random.Random], float],
) -> Callable[[Scene, random.Random], float | None]:
    def inject(scene: Scene, rng: random.Random) -> float | None:
        number = rng.choice(sorted(scene.surroundings.clocks))
        resource_name = f"clock of worker {number}"
        if resource_name in scene.busy:
            return None
        clock = scene.surroundings.clocks[number]
        clock.set(jump(rng))
        return scene.hold(resource_name, rng.uniform(2.0, 6.0), lambda: clock.set(0))

    return inject


def _far(rng: random.Random) -> float:
    return rng.choice((-1, 1)) * rng.choice((10.0, _HOUR, 24 * _HOUR))


def _near(rng: random.Random) -> float:
    return rng.uniform(-3.0, 3.0)


def _link_down(scene: Scene, rng: random.Random) -> float | None:
    link, number = scene.surroundings.link, scene.surroundings.linked
    resource_name = f"zone of worker {number}"
    if link is None or resource_name in scene.busy:
        return None
    link.down()
    seconds = rng.choice((0.5, rng.uniform(1.0, 6.0)))
    scene.record("zone", slot=number, seconds=seconds)
    return scene.hold(resource_name, seconds, link.up)


FAULTS = [
    Fault("memory limit on a worker", "worker", _memory, 1),
    Fault("descriptor limit on a worker", "worker", _descriptors, 1),
    Fault("clock of a worker wrong by seconds", "worker", _clock(_near), 0.7, needs="clock"),
    Fault("clock of a worker wrong by hours", "worker", _clock(_far), 0.7, needs="clock"),
    Fault("link down, packets vanish", "network", _link_down, 2, needs="link"),
]
