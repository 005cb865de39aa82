"""Finds the points, kills processes at each of them, and looks at what is left."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytask
from pytask import PyTaskHelpers
from tests.chaos.history import Recorder, read_all
from tests.support import process
from tests.support.servers import Server

from . import checks
from .feeder import Feeder
from .hooks import AFTER, BEFORE, Target
from .roles import CLIENT, ENDING, SETTINGS, WORKER

#: Processes that are about to die, at a time.
AT_ONCE = 24
#: Seconds a process has to meet its end before it is tried again at an easier occurrence, for
#: longer each time.
PATIENCE = 10.0
#: How often that is done.
TRIES = 12
#: A worker is sent to a point first that it met more than so many times as often as one that ends
#: soon; it lives several times as long.
RARE = 3
#: How long the recorded run takes, and how much longer if some script was not called yet.
RECORDING, EXTENSION = 9.0, 20.0
#: Kills before everything is left to settle and is looked at.
BATCH = 400


@dataclass
class Job:
    """One process to be killed."""

    target: Target
    roles: tuple[str, ...]
    tries: int = 0
    deadline: float = 0.0

    @property
    def role(self) -> str:
        """Who is to die: of those that meet the point, one after the other."""
        return self.roles[self.tries % len(self.roles)]


@dataclass
class Found:
    """Where a point was met.

    Attributes:
        counts: For each role, how often one process of it met the point, at most.
    """

    counts: Counter[str] = field(default_factory=Counter)

    @property
    def roles(self) -> tuple[str, ...]:
        """Who meets it, the likeliest first: what a worker does at its end it may do by chance."""
        worker, ending = self.counts[WORKER], self.counts[ENDING]
        order = (CLIENT, WORKER, ENDING) if worker > RARE * ending else (CLIENT, ENDING, WORKER)
        # Of those that end soon, one may not live to see what the others saw.
        met = [role for role in order if self.counts[role] or (role == WORKER and ending)]
        return (CLIENT,) if met[0] == CLIENT else tuple(met)

    def occurrence(self) -> int:
        return random.randint(1, max(1, min(5, self.counts[self.roles[0]])))


@dataclass
class Result:
    """What came of all kills.

    Attributes:
        points: All points, with the role that was killed there.
        kills: How often each side of each point was died at.
        missed: Points that were not met again.
        confirmed: Tasks that Redis had confirmed to somebody.
        problems: What must not be.
    """

    points: dict[str, str]
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: list[Target] = field(default_factory=list)
    confirmed: int = 0
    reaps: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Stage:
    """A server, a zygote beside it, and the processes it forked."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pytask-crash-"))
        self.server = Server("valkey").start()
        words = [sys.executable, "-m", "tests.crashpoints.zygote", self.server.url]
        self._zygote = process.spawn([*words, str(self.directory)], stdin=PIPE, stdout=PIPE)
        self.recorder = Recorder(self.directory, "driver")
        #: Whether history and log are to be looked at.
        self.is_evidence = False

    def call(self, verb: str, **request: Any) -> Any:
        """Ask the zygote for something."""
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps({"verb": verb, **request}).encode() + b"\n")
        self._zygote.stdin.flush()
        line = self._zygote.stdout.readline()
        if not line:
            raise RuntimeError(f"the zygote ended; see {self.directory}/log.txt")
        return json.loads(line)

    def spawn(self, role: str, **request: Any) -> int:
        """Start a process of a role; return its pid."""
        if role == ENDING:
            request["ends_after"] = random.uniform(0.8, 2.0)
        return int(self.call("spawn", role=role, concurrency=request.pop("most", 6), **request))

    def close(self) -> None:
        process.end(self._zygote)
        for stream in (self._zygote.stdin, self._zygote.stdout):
            if stream is not None:
                stream.close()
        self.recorder.close()
        self.server.close()
        if not self.is_evidence:
            shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def staged() -> Iterator[tuple[Stage, Feeder]]:
    """A server with a worker that survives everything, and tasks that keep coming."""
    stage = Stage()
    try:
        survivor = stage.spawn(WORKER, most=200)
        # Whoever watches must not fail because the machine is slow.
        with PyTaskHelpers(stage.server.url, **SETTINGS, redis_patience=120.0) as helpers:
            feeder = Feeder(helpers, stage.recorder, stage.server)
            feeder.start()
            yield stage, feeder
            feeder.stop()
        assert survivor
    finally:
        stage.close()


def find_points() -> dict[str, Found]:
    """Record a run and return every point that was met."""
    scripts = {path.stem for path in (Path(pytask.__file__).parent / "lua").glob("*.lua")}
    with staged() as (stage, _):
        began_at = time.monotonic()
        pids = {stage.spawn(role, record=True): role for role in (WORKER, ENDING, CLIENT)}
        found: dict[str, Found] = {}
        while True:
            # Some points are only met when somebody has died.
            doomed = stage.spawn(WORKER)
            time.sleep(1.0)
            stage.call("kill", pid=doomed)
            for pid, _status in stage.call("ended"):
                role = pids.pop(pid, None)
                if role is not None:
                    pids[stage.spawn(role, record=True)] = role
            passed = time.monotonic() - began_at
            if passed > RECORDING:
                found = _points_of(stage.directory)
                called = {point.partition(": ")[2] for point in found}
                if called >= scripts or passed > RECORDING + EXTENSION:
                    return found


def _points_of(directory: Path) -> dict[str, Found]:
    events = [one for one in read_all(directory) if one["ev"] == "point"]
    met = Counter((one["point"], one["role"], one["by"]) for one in events if one["phase"] == AFTER)
    found: defaultdict[str, Found] = defaultdict(Found)
    for (point, role, _), count in met.items():
        counts = found[point].counts
        counts[role] = max(counts[role], count)
    return dict(found)


def kill_at_all(found: dict[str, Found], kills: int, progress: Any = None) -> Result:
    """Kill processes at each point, on both sides, ``kills`` times each."""
    began_at = time.monotonic()
    result = Result({point: one.roles[0] for point, one in found.items()})
    jobs = [
        Job(Target(point, phase, one.occurrence()), one.roles)
        for (point, one), phase, _ in itertools.product(
            found.items(), (BEFORE, AFTER), range(kills)
        )
    ]
    random.shuffle(jobs)
    for batch in (jobs[start : start + BATCH] for start in range(0, len(jobs), BATCH)):
        with staged() as (stage, feeder):
            _kill(stage, batch, result)
            feeder.stop()
            outcome = checks.settle_and_check(stage, feeder)
            stage.is_evidence = bool(outcome.problems)
        result.confirmed += outcome.confirmed
        result.reaps += outcome.reaps
        result.problems += outcome.problems
        if progress is not None:
            progress(result, len(jobs))
    result.seconds = time.monotonic() - began_at
    return result


def _kill(stage: Stage, waiting: list[Job], result: Result) -> None:
    """Have each job's process meet its end."""
    living: dict[int, Job] = {}
    doomed: dict[int, float] = {}
    while waiting or living:
        if not waiting and not doomed and len(living) < AT_ONCE // 2:
            # The last ones may have to bury somebody to meet their end.
            doomed[stage.spawn(WORKER)] = time.monotonic() + 1.0
        for pid, dies_at in doomed.items():
            if time.monotonic() >= dies_at:
                stage.call("kill", pid=pid)
        while waiting and len(living) < AT_ONCE:
            job = waiting.pop()
            job.deadline = time.monotonic() + PATIENCE * (1 + job.tries / 4)
            living[stage.spawn(job.role, target=job.target)] = job
        for pid, status in stage.call("ended"):
            job = living.pop(pid, None)
            if doomed.pop(pid, None) is not None:
                continue
            if job is None:
                result.problems.append(f"the survivor ended with {status}")
            elif (
                os.WIFSIGNALED(status)
                and os.WTERMSIG(status) == signal.SIGKILL
                and (time.monotonic() < job.deadline)
            ):
                result.kills[job.target.point, job.target.phase] += 1
            else:
                _again(job, waiting, result)
        for pid, job in living.items():
            if time.monotonic() >= job.deadline:
                stage.call("kill", pid=pid)
        time.sleep(0.02)
    for pid in doomed:
        stage.call("kill", pid=pid)


def _again(job: Job, waiting: list[Job], result: Result) -> None:
    job.tries += 1
    if job.tries < TRIES:
        job.target = job.target._replace(occurrence=1)
        waiting.insert(0, job)
    else:
        result.missed.append(job.target)
