"""When the guard stops everything, and when it waits."""

import time
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest

from pytask import Task
from pytask.worker.guard import Guard, short_patience
from tests.support.waiting import wait_until
from tests.worker.conftest import LiveWorker, Serve

pytestmark = pytest.mark.topologies("valkey")


@dataclass
class HandSetPulse:
    """What the heartbeat would tell."""

    acked_at: float = field(default_factory=time.monotonic)
    leases_acked_at: list[float] = field(default_factory=lambda: [time.monotonic()])
    is_failing: bool = False
    asking_since: float | None = None
    trouble: str = ""
    hub_ticked_at: float = 0.0
    hurried: int = 0

    def hurry(self) -> None:
        self.hurried += 1


class Sleeps(Task):
    NAME = "sleeps"

    def start(self) -> None:
        gevent.sleep(60)


@pytest.fixture
def worker(serve: Serve) -> LiveWorker:
    worker = serve(Sleeps, redis_grace=2.0)
    worker.start("sleeps")
    wait_until(lambda: worker.app.running == 1)
    worker.parts.guard.kill()
    return worker


@pytest.fixture
def pulse() -> HandSetPulse:
    return HandSetPulse()


@pytest.fixture
def guard(worker: LiveWorker, pulse: HandSetPulse, monkeypatch: Any) -> Guard:
    """A guard whose rounds end before anything it asked for can happen."""
    monkeypatch.setattr(Guard, "pause", lambda self, seconds: None)
    return Guard(
        pulse=pulse,
        table=worker.parts.table,
        runner=worker.parts.runner,
        gate=worker.parts.gate,
        settings=worker.app.settings,
    )


def intents(worker: LiveWorker) -> list[int]:
    return [run.intent for run in worker.parts.table.snapshot()]


def test_a_tick_shows_that_the_hub_turns(guard: Guard, pulse: HandSetPulse) -> None:
    before = time.monotonic()
    guard.run_once()
    assert pulse.hub_ticked_at >= before


def test_failing_beats_alone_do_not_stop_runs(
    guard: Guard, pulse: HandSetPulse, worker: LiveWorker
) -> None:
    pulse.is_failing = True
    guard.run_once()
    assert not guard.in_trouble and intents(worker) == [0]


def test_silence_without_a_failure_does_not_stop_runs(
    guard: Guard, pulse: HandSetPulse, worker: LiveWorker
) -> None:
    pulse.acked_at -= 10
    guard.run_once()
    assert not guard.in_trouble and intents(worker) == [0]


@pytest.mark.parametrize("sign", ["failed", "still open"])
def test_no_answer_for_longer_than_the_grace_stops_all_runs(
    guard: Guard, pulse: HandSetPulse, worker: LiveWorker, sign: str
) -> None:
    pulse.acked_at -= 2.1
    if sign == "failed":
        pulse.is_failing = True
    else:
        pulse.asking_since = time.monotonic() - 1.1
    guard.run_once()
    assert guard.in_trouble and intents(worker) == [2]
    assert not worker.parts.gate.is_set()
    pulse.is_failing, pulse.asking_since = False, None
    pulse.acked_at = time.monotonic()
    guard.run_once()
    assert not guard.in_trouble and worker.parts.gate.is_set()


def test_after_a_pause_of_the_process_the_heartbeat_is_asked_first(
    guard: Guard, pulse: HandSetPulse, worker: LiveWorker
) -> None:
    pulse.acked_at -= 30
    pulse.is_failing = True
    guard._ticked_at -= 30
    guard.run_once()
    assert pulse.hurried == 1 and not guard.in_trouble
    guard._judge_at = 0.0
    guard.run_once()
    assert guard.in_trouble


def test_runs_that_begin_during_the_trouble_are_stopped_too(
    guard: Guard, pulse: HandSetPulse, worker: LiveWorker
) -> None:
    pulse.acked_at -= 10
    pulse.is_failing = True
    guard.run_once()
    wait_until(lambda: worker.app.running == 0)
    worker.parts.gate.set()
    worker.parts.claimers[0].wake()
    wait_until(lambda: worker.app.running == 1)
    guard._check_leases_at = 0.0
    guard.run_once()
    assert intents(worker) == [2] or worker.app.running == 0


def test_a_stop_under_trouble_is_over_before_others_may_take_the_task(worker: LiveWorker) -> None:
    settings = worker.app.settings
    assert 2 * short_patience(settings) <= settings.worker_timeout - settings.redis_grace
    assert short_patience(settings.with_options(redis_grace=4.9)) == 0.1


def test_nothing_is_checked_without_runs(serve: Serve, pulse: HandSetPulse, caplog: Any) -> None:
    idle = serve(Sleeps, task_timeout=11)
    pulse.leases_acked_at[0] -= 60
    guard = Guard(
        pulse=pulse,
        table=idle.parts.table,
        runner=idle.parts.runner,
        gate=idle.parts.gate,
        settings=idle.app.settings,
    )
    guard.run_once()
    assert "could not be refreshed" not in caplog.text
