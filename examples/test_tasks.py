"""How tasks are tested: ``pytest examples``. The fixtures come with pytask; no Redis is needed."""

from collections.abc import Callable

import gevent
import pytest

from examples.tasks import Clock, Greet
from examples.worker import app
from pytask import PyTask, TaskFailed
from pytask.testing import FakeClock

Run = Callable[..., None]


@pytest.fixture
def jobs(pytask_isolate: Callable[..., PyTask]) -> PyTask:
    """The app of the example, with keys of this test alone."""
    return pytask_isolate(app)


def test_a_task_class_is_a_class() -> None:
    assert Greet("you").start() == "hello you"


def test_a_greeting_is_returned(jobs: PyTask, run_until_idle: Run) -> None:
    greeting = jobs.helpers.submit("examples/greet", {"name": "you"})
    run_until_idle(jobs)
    assert greeting.result(timeout=30) == "hello you"


def test_nobody_cannot_be_greeted(jobs: PyTask, run_until_idle: Run) -> None:
    greeting = jobs.helpers.submit("examples/greet", {"name": ""})
    run_until_idle(jobs)
    with pytest.raises(TaskFailed, match="nobody to greet"):
        greeting.result(timeout=30)


def test_a_greeting_can_wait_until_tomorrow(
    jobs: PyTask, run_until_idle: Run, fake_clock: FakeClock
) -> None:
    greeting = jobs.helpers.submit("examples/greet", delay=24 * 3600)
    run_until_idle(jobs)
    assert greeting.state == "WAIT"
    fake_clock.advance(24 * 3600)
    run_until_idle(jobs)
    assert greeting.state == "SUCCESS"


def test_a_clock_ticks_until_it_is_stopped(pytask_app: PyTask, run_until_idle: Run) -> None:
    pytask_app.add_task(Clock)
    clock = pytask_app.helpers.submit("examples/clock", {"interval": 0.01})
    ticks = gevent.spawn(lambda: [clock.stop() for event in clock.events() if event.name == "tick"])
    run_until_idle(pytask_app)
    assert ticks.get(timeout=30)
    assert clock.state == "STOPPED"
