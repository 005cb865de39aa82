"""A run that lasts too long is stopped, and its task is REVOKED."""

import time
from typing import Any

import gevent
import pytest

from pytask import Task
from tests.support.waiting import wait_until
from tests.worker.conftest import Serve

happened: list[str] = []
TOLD = "timed out: it ran longer than its timeout allows, and was stopped"


@pytest.fixture(autouse=True)
def _forget() -> None:
    happened.clear()


class Slow(Task):
    NAME = "slow"
    TIMEOUT = 0.2
    MAX_RETRIES = 5

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds

    def start(self) -> str:
        try:
            gevent.sleep(self.seconds)
        finally:
            happened.append("left")
        return "in time"


class Polite(Slow):
    NAME = "polite"

    def start(self) -> str:
        self.asked = gevent.event.Event()
        self.asked.wait()
        return "was asked"

    def stop(self) -> None:
        happened.append("asked")
        self.asked.set()


class Stubborn(Slow):
    NAME = "stubborn"

    def start(self) -> str:
        for _ in range(3):
            try:
                gevent.sleep(60)
            except BaseException:
                happened.append("swallowed")
        return "never"


@pytest.mark.parametrize(
    ("name", "trace"),
    [("slow", ["left"]), ("polite", ["asked"]), ("stubborn", ["swallowed", "swallowed"])],
)
def test_a_run_that_lasts_too_long_is_stopped_and_revoked(
    serve: Serve, name: str, trace: list[str]
) -> None:
    worker = serve(Slow, Polite, Stubborn, stop_timeout=0.2)
    began = time.monotonic()
    assert worker.run_task(name) == ("REVOKED", TOLD)
    assert time.monotonic() - began >= 0.2
    assert happened == trace


def test_a_run_that_ends_in_time_is_left_alone(serve: Serve) -> None:
    worker = serve(Slow)
    assert worker.run_task("slow", seconds=0) == ("SUCCESS", "in time")
    gevent.sleep(0.3)  # past its time-out
    assert worker.helpers.get_end_task_ids()


def test_whoever_starts_a_task_decides_how_long_it_may_run(serve: Serve) -> None:
    worker = serve(Slow)
    longer = worker.helpers.submit("slow", {"seconds": 0.4}, timeout=30).id
    forever = worker.helpers.submit("slow", {"seconds": 0.4}, timeout=0).id
    assert worker.wait_for(longer, "SUCCESS") == worker.wait_for(forever, "SUCCESS") == "in time"


def test_a_person_who_stops_it_meanwhile_is_obeyed(serve: Serve) -> None:
    worker = serve(Stubborn, stop_timeout=2.0)
    task_id = worker.start("stubborn")
    wait_until(lambda: happened)  # its time is over, and it does not obey
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")


def test_a_reload_gives_it_all_its_time_again(serve: Serve) -> None:
    worker = serve(Slow)
    task_id = worker.helpers.submit("slow", {"seconds": 60}, timeout=5.0).id
    worker.wait_for(task_id, "RUNNING")
    gevent.sleep(3.0)
    worker.helpers.set_task(task_id, "data", {"seconds": 2.5})
    worker.helpers.reload_task(task_id)
    assert worker.wait_for(task_id, "SUCCESS") == "in time"


def test_a_requeued_task_has_all_its_time_again_elsewhere(serve: Serve) -> None:
    options: dict[str, Any] = {"drain_timeout": 0.0}
    first = serve(Slow, **options)
    task_id = first.helpers.submit("slow", {"seconds": 2.5}, timeout=5.0).id
    first.wait_for(task_id, "RUNNING")
    gevent.sleep(2.0)
    # It has three seconds left, and needs two and a half from the beginning again.
    assert first.stop() == 0
    second = serve(Slow, **options)
    assert second.wait_for(task_id, "SUCCESS") == "in time"
