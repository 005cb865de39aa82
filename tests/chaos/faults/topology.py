"""Faults of a group of servers: failovers, dead masters, slots on their way."""

from __future__ import annotations

import random
import time

from tests.support.cluster import Cluster, slot_of
from tests.support.servers import Server

from .base import Fault, Scene
from .servers import SERVER

CLUSTER = frozenset({"cluster"})
SENTINEL = frozenset({"sentinel"})


def _cluster(scene: Scene) -> Cluster:
    cluster: Cluster = scene.target.cluster  # type: ignore[attr-defined]
    return cluster


def _failover(scene: Scene, rng: random.Random) -> float | None:
    replicas = [node for node in scene.target.nodes if node not in scene.target.masters()]
    if not replicas or not scene.is_healthy():
        return None
    scene.record("outage", what="failover", seconds=0.5)
    scene.command(rng.choice(replicas), "CLUSTER", "FAILOVER")
    return scene.hold(SERVER, 1.0, lambda: None)


def _kill_master(scene: Scene, rng: random.Random) -> float | None:
    node = scene.pick_master(rng)
    if node is None or not scene.is_healthy():
        return None
    seconds = rng.uniform(3.0, 5.0)
    scene.record("outage", what="kill", seconds=seconds)
    node.kill()
    return scene.hold(SERVER, seconds, node.launch)


def _freeze_master(scene: Scene, rng: random.Random) -> float | None:
    node = scene.pick_master(rng)
    if node is None or not scene.is_healthy():
        return None
    seconds = rng.choice((0.5, rng.uniform(1.5, 5.0)))
    scene.record("outage", what="freeze", seconds=seconds)
    node.pause()
    return scene.hold(SERVER, seconds, node.resume)


def _kill_replica(scene: Scene, rng: random.Random) -> float | None:
    masters = scene.target.masters()
    replicas = [node for node in scene.target.nodes if node not in masters and node.answers()]
    if not replicas or not scene.is_healthy():
        return None
    node = rng.choice(replicas)
    node.kill()
    return scene.hold(SERVER, rng.uniform(0.5, 2.0), node.launch)


class Migration:
    """Moves one busy slot to another master, in steps, with a rest half way.

    The audit moves first: while the slot is on its way, a script that cannot reach it fails
    before it writes anything, as it does for any other key that is out of reach.
    """

    def __init__(self, scene: Scene, slot: int, source: Server, to: Server) -> None:
        self.scene, self.slot, self.source, self.to = scene, slot, source, to
        cluster = _cluster(scene)
        self.source_id, self.to_id = cluster.node_id(source), cluster.node_id(to)

    def begin(self) -> None:
        command = self.scene.command
        command(self.to, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.source_id)
        command(self.source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.to_id)
        keys = self._keys() or []
        self._move(sorted(keys, key=lambda key: not key.startswith("audit"))[: len(keys) // 2 + 2])

    def end(self) -> None:
        deadline = time.monotonic() + 20
        # Whoever hands over a slot that still holds keys deletes them.
        while (keys := self._keys()) is None or keys:
            self._move(keys or [])
            if time.monotonic() > deadline:
                raise RuntimeError(f"slot {self.slot} cannot be moved to {self.to!r}")
        others = [one for one in self.scene.target.masters() if one not in (self.to, self.source)]
        # The new owner first: the slot is never without one.
        for node in (self.to, self.source, *others):
            for _ in range(5):
                words = ("CLUSTER", "SETSLOT", self.slot, "NODE", self.to_id)
                if self.scene.command(node, *words) is not None:
                    break

    def _keys(self) -> list[str] | None:
        """Return what the source still holds of the slot; None if it does not tell."""
        found = self.scene.command(
            self.source, "CLUSTER", "GETKEYSINSLOT", self.slot, 1_000_000, timeout=5.0
        )
        return None if found is None else list(found)

    def _move(self, keys: list[str]) -> None:
        for start in range(0, len(keys), 100):
            # A move that was cut off may have left a copy over there; this side is the valid one.
            words = ("MIGRATE", self.to.host, self.to.port, "", 0, 5000, "REPLACE", "KEYS")
            self.scene.command(self.source, *words, *keys[start : start + 100], timeout=8.0)


def _migrate(scene: Scene, rng: random.Random) -> float | None:
    if not scene.is_healthy():
        return None
    slot = slot_of(f"{{{rng.randrange(scene.target.partitions)}}}")
    try:
        source = _cluster(scene).owner_of(slot)
    except LookupError:
        return None
    others = [node for node in scene.target.masters() if node is not source]
    if not others:
        return None
    migration = Migration(scene, slot, source, rng.choice(others))
    migration.begin()
    seconds = rng.uniform(0.2, 3.0)
    scene.record("outage", what="migration", seconds=seconds)
    return scene.hold(SERVER, seconds, migration.end)


def _sentinel_failover(scene: Scene, rng: random.Random) -> float | None:
    if not scene.is_healthy():
        return None
    scene.record("outage", what="failover", seconds=1.0)
    scene.command(scene.target.seeds[0], "SENTINEL", "FAILOVER", "main")
    return scene.hold(SERVER, 3.0, lambda: None)


BOTH = CLUSTER | SENTINEL

FAULTS = [
    Fault("cluster failover by hand", "topology", _failover, 3, CLUSTER, True, 1.5),
    Fault("master kill -9", "topology", _kill_master, 2, BOTH, True, 6.0),
    Fault("master SIGSTOP", "topology", _freeze_master, 2, BOTH, True, 4.0),
    Fault("replica kill -9", "topology", _kill_replica, 1, BOTH, True, 3.0),
    Fault("slot migration with a rest half way", "topology", _migrate, 2, CLUSTER, True, 2.0),
    Fault("sentinel failover", "topology", _sentinel_failover, 3, SENTINEL, True, 6.0),
]
