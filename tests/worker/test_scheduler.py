"""Tasks start by themselves, once in the fleet, whoever lives."""

import time
from datetime import UTC, datetime
from typing import Any

import gevent
import pytest

from pytask import ConfigurationError, InvalidTask, Task
from tests.support.waiting import wait_until
from tests.worker.conftest import Serve

ran: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


class Tick(Task):
    NAME = "tick"
    RUN_EVERY = 0.25
    MISSED = "all"

    def start(self) -> None:
        ran.append(self.id)


class Told(Task):
    NAME = "told"
    QUEUE = "mail"

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self) -> None:
        ran.append(self.name)


def times_of(ids: list[str]) -> list[float]:
    """Return the due times that IDs of occurrences tell."""
    texts = [one.partition("@")[2].partition("~")[0] for one in ids]
    return sorted(datetime.fromisoformat(one).timestamp() for one in texts)


def wait_for_all_times(count: int) -> None:
    """Wait until the first due times have started one task each; of two workers, in any order."""

    def all_ran() -> bool:
        found = times_of(list(ran))[:count]
        return found == [found[0] + 0.25 * number for number in range(count)]

    wait_until(lambda: len(ran) >= count and all_ran(), message=lambda: f"{times_of(ran)}")


def test_each_due_time_starts_one_task_however_many_workers_there_are(serve: Serve) -> None:
    for _ in range(3):
        serve(Tick)
    wait_for_all_times(8)
    assert len(set(ran)) == len(ran)


def test_what_was_due_while_no_worker_lived_is_made_up_for(serve: Serve) -> None:
    first = serve(Tick)
    wait_until(lambda: ran)
    first.stop()
    gevent.sleep(1.0)
    before = len(ran)
    serve(Tick)
    wait_for_all_times(before + 6)


def test_a_worker_that_is_told_not_to_starts_nothing_by_itself(serve: Serve) -> None:
    worker = serve(Tick, schedule_periodic=False)
    gevent.sleep(0.6)
    assert not ran and not worker.helpers.next_scheduled()


def test_one_task_may_have_several_schedules_with_data_of_their_own(serve: Serve) -> None:
    def prepare(app: Any) -> None:
        app.schedule("told", name="first", run_every=0.2, data={"name": "a"})
        app.schedule("told", name="second", cron="* * * * * *", data={"name": "b"})
        with pytest.raises(ConfigurationError, match="two schedules are named 'first'"):
            app.schedule("told", name="first", run_every=1)
        with pytest.raises(InvalidTask, match="not JSON"):
            app.schedule("told", name="third", run_every=1, data={"name": {1}})

    worker = serve(Told, prepare=prepare, queues=["mail"])
    wait_until(lambda: {"a", "b"} <= set(ran))
    due = worker.helpers.next_scheduled()
    assert set(due) == {"first", "second"}
    assert all(abs((one - datetime.now(UTC)).total_seconds()) < 5 for one in due.values())


def test_a_function_may_start_by_itself(serve: Serve) -> None:
    def prepare(app: Any) -> None:
        @app.task(name="hello", run_every=0.2, max_retries=1)
        def hello() -> None:
            ran.append("hello")

    serve(prepare=prepare)
    wait_until(lambda: len(ran) >= 2)


def test_a_due_time_may_be_left_out_when_it_comes(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Choosy(Tick):
        NAME = "choosy"

        @staticmethod
        def is_due(due: datetime) -> bool:
            if due.microsecond == 500_000:
                raise ValueError("undecided")
            return due.microsecond != 0

    serve(Choosy)
    wait_until(lambda: len(ran) >= 4, 20)
    assert {one % 1 for one in times_of(list(ran))} == {0.25, 0.75}
    assert "schedule choosy: is_due() failed" in caplog.text


def test_a_schedule_that_redis_lost_is_made_known_again(serve: Serve, monkeypatch: Any) -> None:
    monkeypatch.setattr("pytask.worker.scheduler.LONGEST", 1.0)
    worker = serve(Tick)
    wait_until(lambda: ran)
    assert worker.helpers.store.forget_schedule("tick")
    before = len(ran)
    wait_until(lambda: len(ran) > before + 2, 20)


def test_a_schedule_that_is_due_sooner_than_before_is_noticed(
    serve: Serve, monkeypatch: Any
) -> None:
    monkeypatch.setattr("pytask.worker.scheduler.LONGEST", 0.5)
    worker = serve(Tick, prepare=lambda app: app.schedule("tick", name="rare", run_every=86_400))
    wait_until(lambda: "rare" in worker.helpers.next_scheduled())
    soon = time.time() + 0.3
    worker.helpers.store.know_schedule("rare", lambda instant: soon)
    wait_until(lambda: any(one.startswith("rare@") for one in ran), 20)
