"""A waiter claims what it moved itself, and leaves to the claimer what it cannot claim."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask.exceptions import RedisUnavailable
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import LiveWorker, Serve
from tests.worker.test_claiming import Holds, Quick, lone_claimer, wait_for_all_slots
from tests.worker.works import nothing_happened, release, started

__all__ = ["nothing_happened"]  # a fixture

pytestmark = pytest.mark.topologies("valkey")


def claims_of(worker: LiveWorker, act: Callable[[int], None] = lambda number: None) -> list[Any]:
    """Note from now on which greenlet claims with which request; act before each claim."""
    store, noted = lone_claimer(worker)._store, list[Any]()
    claim = store.claim

    def noting(*args: Any, **options: Any) -> Any:
        noted.append((gevent.getcurrent(), options["request"]))
        act(len(noted))
        return claim(*args, **options)

    store.claim = noting
    return noted


def is_idle(worker: LiveWorker) -> bool:
    claimer = lone_claimer(worker)
    return claimer._is_waiting and claimer.idle.is_set()


def test_a_waiter_claims_what_it_moved(serve: Serve) -> None:
    worker = serve(Quick)
    wait_until(lambda: is_idle(worker))
    noted = claims_of(worker)
    worker.wait_for(worker.start("quick"), "SUCCESS")
    wait_until(lambda: is_idle(worker))
    worker.wait_for(worker.start("quick"), "SUCCESS")
    (waiter,) = worker.parts.waiters
    assert [greenlet for greenlet, _ in noted] == [waiter._greenlet] * 2
    wait_for_all_slots(worker)


def test_a_waiter_claims_nothing_while_redis_is_in_trouble(serve: Serve) -> None:
    worker = serve(Quick)
    wait_until(lambda: is_idle(worker))
    noted = claims_of(worker)
    worker.parts.gate.clear()
    task_id = worker.start("quick")
    wait_until(lambda: not lone_claimer(worker)._is_waiting)
    assert noted == [] and worker.record(task_id)["state"] == "WAIT"
    worker.parts.gate.set()
    worker.wait_for(task_id, "SUCCESS")


def test_a_claim_without_an_answer_is_repeated_by_the_claimer(serve: Serve) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise RedisUnavailable("cut off")

    worker = serve(Quick)
    wait_until(lambda: is_idle(worker))
    noted = claims_of(worker, fail)
    worker.wait_for(worker.start("quick"), "SUCCESS")
    wait_for_all_slots(worker)
    (first, request), (second, again) = noted[:2]
    assert first is not second and request == again


def test_the_claim_of_a_waiter_that_is_killed_is_given_back(serve: Serve) -> None:
    reached, hold = Event(), Event()

    def wait_here(number: int) -> None:
        if number == 1:
            reached.set()
            hold.wait()

    worker = serve(Holds)
    wait_until(lambda: is_idle(worker))
    noted = claims_of(worker, wait_here)
    task_id = worker.start("holds")
    assert reached.wait(PATIENCE)
    assert worker.stop() == 0
    assert worker.record(task_id)["state"] == "WAIT" and started == []
    assert len({request for _, request in noted}) == 1


def test_the_claimer_does_not_claim_while_a_waiter_does(serve: Serve) -> None:
    reached, hold = Event(), Event()

    def wait_here(number: int) -> None:
        if number == 1:
            reached.set()
            hold.wait()

    worker = serve(Holds)
    wait_until(lambda: is_idle(worker))
    noted = claims_of(worker, wait_here)
    worker.start("holds", name="first")
    assert reached.wait(PATIENCE)
    lone_claimer(worker).wake()
    wait_until(lambda: not lone_claimer(worker)._is_waiting)
    worker.start("holds", name="second")
    assert len(noted) == 1
    hold.set()
    wait_until(lambda: sorted(started) == ["first", "second"])
    release.set()
    wait_for_all_slots(worker)
