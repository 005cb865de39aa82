"""Faults of the network between one zone (a worker, or all clients) and the servers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ..zones import Zone
from .base import Fault, Scene


def _zone(scene: Scene, rng: random.Random) -> tuple[int, str, Zone]:
    number = rng.randrange(len(scene.zones) + 1)
    if number == len(scene.zones):
        return -1, "zone of the clients", scene.client_zone
    return number, f"zone of worker {number}", scene.zones[number]


def _mode(
    name: str, shortest: float, longest: float, **arguments: Any
) -> Callable[[Scene, random.Random], float | None]:
    def inject(scene: Scene, rng: random.Random) -> float | None:
        number, resource, zone = _zone(scene, rng)
        seconds = rng.uniform(shortest, longest)
        values = {
            key: rng.uniform(*value) if isinstance(value, tuple) else value
            for key, value in arguments.items()
        }
        if resource in scene.busy:
            return None
        zone.mode(name, **values)
        scene.record("zone", slot=number, seconds=seconds)
        return scene.hold(resource, seconds, lambda: zone.mode("pass"))

    return inject


def _cut(scene: Scene, rng: random.Random) -> float | None:
    number, resource, zone = _zone(scene, rng)
    if resource in scene.busy:
        return None
    zone.mode(
        "cut",
        times=rng.randrange(1, 6),
        after=rng.randrange(0, 4),
        request=rng.choice(("EVALSHA", "EVALSHA", "EVALSHA", "BLMOVE", "")),
    )
    seconds = rng.uniform(0.3, 1.5)
    scene.record("zone", slot=number, seconds=seconds)
    return scene.hold(resource, seconds, lambda: zone.mode("pass"))


def _disconnect(scene: Scene, rng: random.Random) -> float | None:
    number, _, zone = _zone(scene, rng)
    zone.disconnect()
    scene.record("zone", slot=number, seconds=0.0)
    return 0.0


FAULTS = [
    Fault("connection cut in place of a reply", "network", _cut, 6),
    Fault("replies swallowed", "network", _mode("swallow", 0.3, 3.5), 2),
    Fault(
        "replies to scripts swallowed", "network", _mode("swallow", 0.3, 2.0, request="EVALSHA"), 2
    ),
    Fault("requests dropped", "network", _mode("drop", 0.3, 3.5), 1.5),
    Fault("requests for scripts dropped", "network", _mode("drop", 0.3, 1.5, request="EVALSHA"), 1),
    Fault("black hole", "network", _mode("hole", 0.3, 5.0), 2),
    Fault("connections refused", "network", _mode("refuse", 0.2, 4.0), 1),
    Fault("replies delayed", "network", _mode("delay", 1.0, 4.0, seconds=(0.02, 0.3)), 1),
    Fault("replies at uneven times", "network", _mode("jitter", 1.0, 4.0, seconds=(0.05, 0.4)), 1),
    Fault("replies in crumbs", "network", _mode("trickle", 1.0, 3.0, seconds=0.01), 0.7),
    Fault("connections reset", "network", _disconnect, 2),
]
