"""The shape all services share."""

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask.exceptions import RedisRejected, RedisUnavailable
from pytask.worker.service import Service
from tests.support.waiting import PATIENCE, wait_until


class Counts(Service):
    name = "counts"
    max_delay = 0.05

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.rounds = 0
        self.was_ended = 0

    def run_once(self) -> None:
        self.rounds += 1
        if self.errors:
            raise self.errors.pop(0)
        self.pause(None)

    def ended(self) -> None:
        self.was_ended += 1


def test_starting_and_stopping_twice_is_harmless() -> None:
    service = Counts()
    service.stop()
    assert service.join(PATIENCE)
    service.start()
    first = service._greenlet
    service.start()
    assert service._greenlet is first and service.is_running
    service.stop()
    service.stop()
    assert service.join(PATIENCE) and not service.is_running
    assert service.was_ended == 1


def test_a_stopped_service_can_be_started_again() -> None:
    service = Counts()
    for _ in range(2):
        service.start()
        wait_until(lambda: service._resting)
        service.stop()
        assert service.join(PATIENCE)
    assert service.rounds == 2


def test_a_failed_round_is_logged_and_followed_by_the_next(caplog: Any) -> None:
    service = Counts(ValueError("first"), ZeroDivisionError("second"))
    service.start()
    wait_until(lambda: service.rounds == 3)
    assert caplog.text.count("counts failed; it goes on in") == 2
    assert "ValueError: first" in caplog.text
    service.stop()
    assert service.join(PATIENCE)


def test_a_lasting_rejection_is_reported_once(caplog: Any) -> None:
    service = Counts(*[RedisRejected("NOPERM no")] * 3)
    service.start()
    wait_until(lambda: service.rounds == 4)
    assert caplog.text.count("NOPERM") == 1
    service.stop()


def test_redis_being_away_is_left_to_the_guard_to_report(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    service = Counts(*[RedisUnavailable("gone")] * 3)
    service.start()
    wait_until(lambda: service.rounds == 4)
    assert caplog.text == ""
    service.stop()


def test_work_goes_on_within_half_a_second_of_redis_being_back() -> None:
    pauses: list[float] = []

    class Hurried(Service):
        def run_once(self) -> None:
            if len(pauses) == 20:
                self._stopping = True
            raise RedisUnavailable("gone")

        def pause(self, seconds: float | None) -> None:
            pauses.append(seconds or 0.0)
            gevent.sleep(0)

    service = Hurried()
    service.start()
    assert service.join(PATIENCE)
    assert max(pauses) <= 0.5


def test_a_service_is_stopped_in_the_pause_after_a_failure() -> None:
    service = Counts(ValueError())
    service.min_delay = service.max_delay = 60
    service.start()
    wait_until(lambda: service._resting)
    service.stop()
    assert service.join(PATIENCE)


def test_a_round_under_way_is_finished_before_the_stop() -> None:
    done: list[int] = []

    class Slow(Service):
        def run_once(self) -> None:
            begun.set()
            go_on.wait()
            done.append(1)

    begun, go_on = Event(), Event()
    service = Slow()
    service.start()
    begun.wait()
    service.stop()
    gevent.sleep(0.05)
    go_on.set()
    assert service.join(PATIENCE) and done == [1]


def test_wake_ends_a_pause() -> None:
    service = Counts()
    service.start()
    for rounds in (1, 2, 3):
        wait_until(lambda rounds=rounds: service.rounds == rounds and service._resting)
        service.wake()
    service.stop()


def test_a_service_does_not_run_in_another_process(monkeypatch: Any) -> None:
    service = Counts()
    service.start()
    wait_until(lambda: service._resting)
    monkeypatch.setattr("os.getpid", lambda: -1)
    service.wake()
    assert service.join(PATIENCE) and service.rounds == 1


def test_run_once_has_to_be_defined() -> None:
    with pytest.raises(NotImplementedError):
        Service().run_once()
