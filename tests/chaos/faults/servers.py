"""Faults of a server: killed, frozen, stalled, busy, full, forgetful."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from .base import Fault, Scene

SERVER = "servers"

#: Computes for some time without writing: everybody else is answered BUSY.
_BUSY_SCRIPT = """
local began = redis.call('TIME')
repeat
  local now = redis.call('TIME')
until (now[1] - began[1]) + (now[2] - began[2]) / 1000000 > tonumber(ARGV[1])
return 1
"""


def _kill(scene: Scene, rng: random.Random) -> float | None:
    node = scene.pick_master(rng)
    if node is None:
        return None
    seconds = rng.choice((0.0, 0.0, rng.uniform(0.2, 1.0), rng.uniform(2.0, 4.0)))
    scene.record("outage", what="kill", seconds=seconds)
    node.kill()
    return scene.hold(SERVER, seconds, node.launch)


def _freeze(scene: Scene, rng: random.Random) -> float | None:
    node = scene.pick_master(rng)
    if node is None:
        return None
    seconds = rng.choice((rng.uniform(0.2, 1.0), rng.uniform(1.0, 5.0)))
    scene.record("outage", what="freeze", seconds=seconds)
    node.pause()
    return scene.hold(SERVER, seconds, node.resume)


def _on_each(*words: Any) -> Callable[[Scene, random.Random], float | None]:
    def inject(scene: Scene, rng: random.Random) -> float | None:
        if words[0] == "CLIENT":
            scene.record("outage", what="disconnected", seconds=0.0)
        for node in scene.target.masters():
            scene.command(node, *words)
        return 0.0

    return inject


def _pause_clients(scene: Scene, rng: random.Random) -> float | None:
    seconds = rng.uniform(0.3, 3.0)
    what = rng.choice(("ALL", "WRITE"))
    for node in scene.target.masters():
        scene.command(node, "CLIENT", "PAUSE", int(seconds * 1000), what)
    scene.record("outage", what=f"pause {what}", seconds=seconds)
    return scene.hold(SERVER, seconds, lambda: None)


def _sleep(scene: Scene, rng: random.Random) -> float | None:
    node = scene.pick_master(rng)
    if node is None:
        return None
    seconds = rng.choice((0.3, 1.0, 2.5, 4.0))
    scene.record("outage", what="sleep", seconds=seconds)
    scene.send(node, "DEBUG", "SLEEP", seconds)
    return scene.hold(SERVER, seconds, lambda: None)


def _busy(scene: Scene, rng: random.Random) -> float | None:
    node = scene.pick_master(rng)
    if node is None:
        return None
    seconds = rng.uniform(0.4, 2.0)
    scene.record("outage", what="busy", seconds=seconds)
    scene.send(node, "EVAL", _BUSY_SCRIPT, 0, seconds)
    return scene.hold(SERVER, seconds, lambda: None)


def _fill(scene: Scene, rng: random.Random) -> float | None:
    nodes = scene.target.masters()
    for node in nodes:
        scene.command(node, "CONFIG", "SET", "maxmemory", "1mb")
    seconds = rng.uniform(0.5, 3.0)
    scene.record("outage", what="full", seconds=seconds)

    def heal() -> None:
        for node in scene.target.nodes:
            scene.command(node, "CONFIG", "SET", "maxmemory", 0)

    return scene.hold(SERVER, seconds, heal)


def _flush_often(scene: Scene, rng: random.Random) -> float | None:
    def flush(left: int) -> None:
        for node in scene.target.masters():
            scene.command(node, "SCRIPT", "FLUSH")
        if left:
            scene.timeline.after(0.05, lambda: flush(left - 1))

    flush(15)
    return 0.8


FAULTS = [
    Fault("Redis kill -9 and restart", "server", _kill, 2, frozenset({"single"}), True),
    Fault("Redis SIGSTOP", "server", _freeze, 1.5, frozenset({"single"}), True),
    Fault("CLIENT KILL TYPE normal", "server", _on_each("CLIENT", "KILL", "TYPE", "normal"), 2),
    Fault("CLIENT KILL TYPE pubsub", "server", _on_each("CLIENT", "KILL", "TYPE", "pubsub"), 2),
    Fault("CLIENT PAUSE", "server", _pause_clients, 1.5, exclusive=True),
    Fault("DEBUG SLEEP", "server", _sleep, 1.5, exclusive=True),
    Fault("SCRIPT FLUSH", "server", _on_each("SCRIPT", "FLUSH"), 2),
    Fault("SCRIPT FLUSH each 50 ms", "server", _flush_often, 0.7),
    Fault("busy script", "server", _busy, 1, exclusive=True),
    Fault("out of memory", "server", _fill, 1.5, exclusive=True),
]
