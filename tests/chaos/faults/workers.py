"""Faults of processes: killed, frozen, asked to end, kept busy."""

from __future__ import annotations

import random
import signal

from ..children import children_of, send
from ..fleet import Member
from .base import Fault, Scene


def _kill(scene: Scene, rng: random.Random) -> float | None:
    worker = scene.pick_worker(rng)
    if worker is None:
        return None
    scene.record("kill", pid=worker.pid, slot=worker.number)
    worker.kill()
    return 0.0


def _kill_all(scene: Scene, rng: random.Random) -> float | None:
    for worker in scene.fleet.awake_workers():
        scene.record("kill", pid=worker.pid, slot=worker.number)
        worker.kill()
    return 0.0


def _freeze(scene: Scene, member: Member | None, seconds: float) -> float | None:
    if member is None or not member.is_running:
        return None
    pid = member.pid
    scene.record("freeze", pid=pid, seconds=seconds)
    member.pause()

    def wake() -> None:
        if member.pid == pid:
            member.resume()

    scene.timeline.after(seconds, wake)
    return seconds


def _freeze_short(scene: Scene, rng: random.Random) -> float | None:
    seconds = rng.uniform(0.3, 0.6) * float(scene.settings["worker_timeout"])
    return _freeze(scene, scene.pick_worker(rng), seconds)


def _freeze_long(scene: Scene, rng: random.Random) -> float | None:
    seconds = rng.uniform(2.0, 3.5) * float(scene.settings["worker_timeout"])
    return _freeze(scene, scene.pick_worker(rng), seconds)


def _ask(number: int, times: int = 1) -> object:
    def inject(scene: Scene, rng: random.Random) -> float | None:
        worker = scene.pick_worker(rng)
        if worker is None:
            return None
        worker.excused = True  # exit 1 says that Redis could not be told everything
        worker.signal(number)
        for again in range(1, times):
            scene.timeline.after(0.05 * again, lambda: worker.signal(number))
        return 0.0

    return inject


def _hog(scene: Scene, rng: random.Random) -> float | None:
    seconds = rng.choice((0.8, 1.5, 1.5, 5.0))
    return seconds if scene.start("hog", seconds=seconds) else None


def _poison(scene: Scene, rng: random.Random) -> float | None:
    for member in scene.fleet.workers:
        member.may_end_with.add(-signal.SIGKILL)
    return 0.0 if scene.start("poison") else None


def _fork(scene: Scene, rng: random.Random) -> float | None:
    for member in scene.fleet.workers:
        member.may_end_with.add(-signal.SIGKILL)
    return 0.0 if scene.start("fork", seconds=rng.uniform(2.0, 5.0)) else None


def _pick_child(scene: Scene, rng: random.Random) -> tuple[int, int] | None:
    """Return a worker that is awake and a child of it; None: there is none."""
    pids = [worker.pid for worker in scene.fleet.awake_workers() if worker.pid is not None]
    found = [(pid, child) for pid in pids for child in children_of(pid)]
    return rng.choice(found) if found else None


def _kill_child(scene: Scene, rng: random.Random) -> float | None:
    picked = _pick_child(scene, rng)
    if picked is None:
        return None
    send(picked[1], signal.SIGKILL)
    return 0.0


def _freeze_child(scene: Scene, rng: random.Random) -> float | None:
    picked = _pick_child(scene, rng)
    if picked is None:
        return None
    worker, child = picked
    seconds = rng.uniform(0.2, 2.0) * float(scene.settings["worker_timeout"])
    send(child, signal.SIGSTOP)

    def wake() -> None:
        # It may not have come so far that it dies with its worker.
        if child in children_of(worker):
            send(child, signal.SIGCONT)

    scene.timeline.after(seconds, wake)
    return seconds


def _kill_client(role: str) -> object:
    def inject(scene: Scene, rng: random.Random) -> float | None:
        members = [member for member in scene.fleet.of(role) if member.is_running]
        if not members:
            return None
        rng.choice(members).kill()
        return 0.0

    return inject


def _freeze_client(scene: Scene, rng: random.Random) -> float | None:
    members = [*scene.fleet.of("producer"), *scene.fleet.of("controller")]
    return _freeze(scene, rng.choice(members), rng.uniform(0.5, 2.5))


FAULTS = [
    Fault("worker kill -9", "worker", _kill, 5),
    Fault("all workers kill -9", "worker", _kill_all, 0.5),
    Fault("worker SIGSTOP, shorter than the lease", "worker", _freeze_short, 2),
    Fault("worker SIGSTOP, longer than the lease", "worker", _freeze_long, 5),
    Fault("worker SIGTERM", "worker", _ask(signal.SIGTERM), 2),  # type: ignore[arg-type]
    Fault("worker SIGTERM twice", "worker", _ask(signal.SIGTERM, 2)),  # type: ignore[arg-type]
    Fault("worker SIGINT", "worker", _ask(signal.SIGINT)),  # type: ignore[arg-type]
    Fault("CPU hog in a worker", "worker", _hog, 1.5),
    Fault("poison task", "worker", _poison, 0.6),
    Fault("task that forks, and its worker dies", "worker", _fork, 1),
    Fault("child process kill -9", "worker", _kill_child, 2),
    Fault("child process SIGSTOP", "worker", _freeze_child, 1),
    Fault("producer kill -9", "client", _kill_client("producer")),  # type: ignore[arg-type]
    Fault("controller kill -9", "client", _kill_client("controller"), 0.7),  # type: ignore[arg-type]
    Fault("client SIGSTOP", "client", _freeze_client, 0.7),
]
