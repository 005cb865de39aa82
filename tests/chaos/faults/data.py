"""Faults of data: what people do with redis-cli, rightly or not."""

from __future__ import annotations

import random

from pytask.exceptions import PyTaskException
from tests.support.servers import Server

from .base import Fault, Scene


def _partition(scene: Scene, rng: random.Random) -> tuple[Server | None, str]:
    """Return the master of some partition and the tag of its keys."""
    if not scene.target.is_cluster:
        return scene.pick_master(rng), ""
    number = rng.randrange(scene.target.partitions)
    tag = f"{{{number}}}"
    try:
        return scene.target.cluster.owner_of(tag), tag  # type: ignore[attr-defined]
    except (LookupError, StopIteration):
        return None, tag


def _id_for(tag: str, name: str, scene: Scene) -> str:
    """Make an ID that belongs into the partition of a tag."""
    from zlib import crc32

    while True:
        task_id = f"{name}-{next(scene.numbers)}"
        if not tag or f"{{{crc32(task_id.encode()) % scene.target.partitions}}}" == tag:
            return task_id


def _duplicates(scene: Scene, rng: random.Random) -> float | None:
    node, tag = _partition(scene, rng)
    if node is None:
        return None
    waiting = scene.command(node, "LRANGE", f"new-task{tag}", -2, -1) or []
    active = scene.command(node, "SRANDMEMBER", f"tasks{tag}", 2) or []
    ended = scene.command(node, "LRANGE", f"end-task{tag}", 0, 1) or []
    failed = scene.command(node, "ZRANGE", f"tasks{tag}:failed", 0, 0) or []
    ids = [*waiting, *active, *ended, *failed]
    if not ids:
        return None
    # Before the push: what is written by hand is outside of the bookkeeping from here on.
    scene.record("hand", ids=ids, what="duplicate")
    for _ in range(rng.randrange(1, 4)):
        scene.command(node, "LPUSH", f"new-task{tag}", *ids)
    return 0.0


def _ghosts(scene: Scene, rng: random.Random) -> float | None:
    node, tag = _partition(scene, rng)
    if node is None:
        return None
    ids = [_id_for(tag, "ghost", scene) for _ in range(rng.randrange(1, 20))]
    scene.record("hand", ids=ids, what="ghost")
    scene.command(node, "LPUSH", f"new-task{tag}", *ids)
    return 0.0


def _by_hand(late: bool) -> object:
    def inject(scene: Scene, rng: random.Random) -> float | None:
        node, tag = _partition(scene, rng)
        if node is None:
            return None
        task_id = _id_for(tag, "hand", scene)
        scene.record("hand", ids=[task_id], what="made by hand")
        record = ("HSET", f"task-{tag}{task_id}", "task", "chaos/quick", "data", "{}")
        push = ("LPUSH", f"new-task{tag}", task_id)
        first, second = (push, record) if late else (record, push)
        if scene.command(node, *first) is None:
            return None
        seconds = rng.uniform(0.0, 0.8)
        scene.timeline.after(seconds, lambda: scene.command(node, *second))
        return seconds

    return inject


def _paused(scene: Scene, rng: random.Random) -> float | None:
    """Hold a queue back for a while, that is not the one everything else is measured by."""
    if "queue" in scene.busy:
        return None
    try:
        scene.admin.pause("mail")
    except PyTaskException:
        return None

    def resume() -> None:
        if not scene.admin.resume("mail"):
            scene.timeline.after(0.5, resume)

    return scene.hold("queue", rng.uniform(0.5, 3.0), resume)


def _flushed(scene: Scene, rng: random.Random) -> float | None:
    # One in which nothing waits shows nothing.
    if "servers" in scene.busy or not scene.admin.waits_in("mail"):
        return None
    scene.admin.flush("mail")
    return 0.0


FAULTS = [
    Fault("queue paused", "client", _paused, 2),
    Fault("queue flushed", "client", _flushed, 0.5),
    Fault("IDs pushed again by hand", "data", _duplicates, 2),
    Fault("IDs without a record", "data", _ghosts, 1),
    Fault("task made by hand", "data", _by_hand(False), 1),  # type: ignore[arg-type]
    Fault("task made by hand, record late", "data", _by_hand(True), 1),  # type: ignore[arg-type]
]
