"""What failed is tried again, as its policy says."""

import time
from itertools import pairwise
from typing import Any

import pytest

from pytask import Retry, Task
from tests.support.waiting import wait_until
from tests.worker.conftest import Serve

tries: list[float] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    tries.clear()


class Flaky(Task):
    """Fails so many times."""

    NAME = "flaky"
    MAX_RETRIES = 3
    RETRY_DELAY = 0.05
    RETRY_ON = (ValueError, Task.Error)

    def __init__(self, failures: int, kind: str = "ValueError") -> None:
        self.failures = failures
        self.kind = kind

    def start(self) -> int:
        tries.append(time.monotonic())
        if len(tries) <= self.failures:
            kinds: dict[str, Any] = {"ValueError": ValueError, "OSError": OSError}
            raise kinds.get(self.kind, self.Error)(f"failure {len(tries)}")
        return len(tries)


class Asks(Task):
    """Asks for a retry itself."""

    NAME = "asks"
    MAX_RETRIES = 1
    RETRY_DELAY = 60

    def __init__(self, delay: float | None = None) -> None:
        self.delay = delay

    def start(self) -> str:
        tries.append(time.monotonic())
        if self.attempt < 3:
            raise Retry({"left": 3 - self.attempt}, delay=self.delay)
        return "done"


class Careless(Task):
    """Cannot say when it wants to be tried again."""

    NAME = "careless"
    MAX_RETRIES = 1

    @staticmethod
    def RETRY_DELAY(retries: int) -> float:
        raise KeyError("no idea")

    def start(self) -> None:
        raise ValueError("failed")


@pytest.mark.parametrize("kind", ["ValueError", "Error"])
def test_a_task_that_fails_is_tried_again_until_it_succeeds(serve: Serve, kind: str) -> None:
    worker = serve(Flaky)
    task_id = worker.start("flaky", failures=2, kind=kind)
    assert worker.wait_for(task_id, "SUCCESS") == 3
    record = worker.record(task_id)
    assert (record["attempts"], record["retries"]) == ("3", "2")
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(tries))


def test_after_the_last_retry_the_failure_stands(serve: Serve) -> None:
    worker = serve(Flaky)
    state, output = worker.run_task("flaky", failures=9)
    assert state == "EXCEPTION" and output.endswith("ValueError: failure 4")
    assert len(tries) == 4


def test_a_local_task_that_fails_is_over_because_nobody_else_may_have_it(serve: Serve) -> None:
    worker = serve(Flaky, prepare=lambda app: app.start_local_task("flaky", failures=9))
    (task_id,) = wait_until(worker.helpers.get_end_task_ids)
    assert worker.record(task_id)["state"] == "EXCEPTION"
    assert len(tries) == 1


def test_only_what_is_worth_it_is_tried_again(serve: Serve) -> None:
    worker = serve(Flaky)
    state, _ = worker.run_task("flaky", failures=1, kind="OSError")
    assert (state, len(tries)) == ("EXCEPTION", 1)


def test_whoever_starts_a_task_decides_for_it_alone(serve: Serve) -> None:
    worker = serve(Flaky)
    futures = [
        worker.helpers.submit("flaky", {"failures": 9}, max_retries=1, retry_delay=0),
        worker.helpers.submit("flaky", {"failures": 9}, max_retries=0),
    ]
    for future in futures:
        worker.wait_for(future.id, "EXCEPTION")
    assert [worker.record(one.id)["attempts"] for one in futures] == ["2", "1"]


def test_a_task_may_ask_for_another_try_and_say_when(serve: Serve) -> None:
    worker = serve(Asks)
    task_id = worker.helpers.submit("asks", {"delay": 0.01}, max_retries=2).id
    assert worker.wait_for(task_id, "SUCCESS") == "done"


def test_a_task_that_asks_once_too_often_ends_with_its_reason(serve: Serve) -> None:
    worker = serve(Asks)
    assert worker.run_task("asks", delay=0) == ("ERROR", {"left": 1})
    assert len(tries) == 2


def test_a_task_that_waits_for_its_next_try_shows_why_and_can_be_stopped(serve: Serve) -> None:
    worker = serve(Asks)
    task_id = worker.start("asks")
    assert worker.wait_for(task_id, "RETRY") == {"left": 2}
    [due] = [
        score
        for names in worker.helpers.keys.partitions
        for _, score in worker.helpers.redis.zrange(names.delayed, 0, -1, withscores=True)
    ]
    assert 30 < due - time.time() < 65
    assert worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")


def test_a_restart_has_all_retries_again(serve: Serve) -> None:
    worker = serve(Flaky)
    task_id = worker.start("flaky", failures=7)
    worker.wait_for(task_id, "EXCEPTION")
    assert len(tries) == 4
    worker.helpers.restart_task(task_id)
    assert worker.wait_for(task_id, "SUCCESS") == 8


def test_a_delay_that_cannot_be_computed_ends_the_task_as_it_failed(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    state, output = serve(Careless).run_task("careless")
    assert state == "EXCEPTION" and output.endswith("ValueError: failed")
    assert "is not tried again: its retry_delay failed" in caplog.text


def test_each_failure_is_told_to_the_exception_handlers(serve: Serve) -> None:
    told: list[str] = []
    worker = serve(
        Flaky, prepare=lambda app: app.add_exception_handler(lambda e: told.append(str(e)))
    )
    worker.wait_for(worker.start("flaky", failures=2), "SUCCESS")
    assert told == ["failure 1", "failure 2"]
