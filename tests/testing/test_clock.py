"""A fake clock moves all that the scripts decide by the time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pytask import PyTask, Retry
from pytask.scripts import load
from pytask.testing import FakeClock, clean_up

Run = Callable[..., None]


@pytest.fixture
def runs(pytask_app: PyTask) -> list[str]:
    """What the task ``note`` was started with."""
    seen: list[str] = []
    pytask_app.task(name="note")(lambda text="": seen.append(text))
    return seen


def test_a_delayed_task_starts_when_its_time_has_come(
    pytask_app: PyTask, runs: list[str], run_until_idle: Run, fake_clock: FakeClock
) -> None:
    pytask_app.helpers.submit("note", {"text": "later"}, delay=3600)
    run_until_idle(pytask_app)
    fake_clock.advance(3500)
    run_until_idle(pytask_app)
    assert runs == []
    fake_clock.advance(timedelta(seconds=101))
    run_until_idle(pytask_app)
    assert runs == ["later"]


def test_a_task_expires(
    pytask_app: PyTask, runs: list[str], run_until_idle: Run, fake_clock: FakeClock
) -> None:
    future = pytask_app.helpers.submit("note", expires=60)
    fake_clock.advance(61)
    run_until_idle(pytask_app)
    assert (future.state, runs) == ("REVOKED", [])


def test_retries_come_after_their_delays(
    pytask_app: PyTask, run_until_idle: Run, fake_clock: FakeClock
) -> None:
    tries: list[float] = []

    @pytask_app.task(max_retries=3, retry_delay=600)
    def flaky() -> str:
        tries.append(fake_clock.offset)
        if len(tries) < 3:
            raise Retry()
        return "at last"

    future = flaky.submit()
    for _ in range(4):
        run_until_idle(pytask_app)
        fake_clock.advance(600)
    assert tries == [0.0, 600.0, 1200.0]
    assert future.result(timeout=30) == "at last"


def test_a_schedule_starts_its_task_at_each_due_time(
    pytask_app: PyTask, runs: list[str], run_until_idle: Run, fake_clock: FakeClock
) -> None:
    pytask_app.schedule("note", cron="0 6 * * *", data={"text": "daily"})
    run_until_idle(pytask_app)
    assert runs == []
    due = pytask_app.helpers.next_scheduled()["note"]
    for days in range(3):
        fake_clock.move_to(due + timedelta(days=days, seconds=1))
        run_until_idle(pytask_app)
        assert runs == ["daily"] * (days + 1)
    assert pytask_app.helpers.next_scheduled()["note"] == due + timedelta(days=3)


def test_failures_are_forgotten_when_their_time_is_over(
    pytask_app: PyTask, run_until_idle: Run, fake_clock: FakeClock
) -> None:
    pytask_app.task(name="bad")(lambda: 1 / 0)
    future = pytask_app.helpers.submit("bad")
    run_until_idle(pytask_app)
    clean_up(pytask_app)
    fake_clock.advance(timedelta(days=6))
    clean_up(pytask_app)
    assert future.state == "EXCEPTION"
    fake_clock.advance(timedelta(days=2))
    clean_up(pytask_app)
    assert future.state is None


def test_the_time_is_real_again_afterwards(pytask_server: Any, pytask_app: PyTask) -> None:
    plain = load("claim")
    with FakeClock(pytask_server.address) as clock:
        assert load("claim").sha != plain.sha
        clock.advance(1e6)
        ahead = clock.now() - datetime.now(UTC)
        assert timedelta(seconds=9e5) < ahead < timedelta(seconds=2e6)
        assert pytask_app.helpers.store.server_time() > datetime.now(UTC).timestamp() + 9e5
    assert load("claim") == plain
    assert pytask_app.helpers.store.server_time() < datetime.now(UTC).timestamp() + 9e5
    with FakeClock(pytask_server.address) as clock:
        assert clock.offset == 0.0


def test_it_does_not_go_back(fake_clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        fake_clock.advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        fake_clock.move_to(datetime(2000, 1, 1))
    with pytest.raises(ValueError, match="does not go back"):
        fake_clock.move_to(datetime(2000, 1, 1, tzinfo=UTC))


@pytest.mark.topologies("cluster")
def test_a_cluster_has_no_fake_clock(address: Any) -> None:
    from pytask.exceptions import ConfigurationError

    with pytest.raises(ConfigurationError, match="single server"):
        FakeClock(address)
