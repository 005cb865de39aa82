"""While tasks keep coming a claim travels with each wait, and nothing of it is ever lost."""

from collections.abc import Callable
from typing import Any

import pytest
from gevent.event import Event

from pytask.exceptions import RedisUnavailable
from pytask.worker import claimer
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import LiveWorker, Serve
from tests.worker.test_claiming import Holds, Quick, wait_for_all_slots
from tests.worker.works import nothing_happened, release, started

__all__ = ["nothing_happened"]  # a fixture

pytestmark = pytest.mark.topologies("valkey")

Note = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def note(monkeypatch: pytest.MonkeyPatch) -> Note:
    """Note what a waiter calls once a first task has come, and act on each answer.

    Its waits last for as long as nothing comes.
    """
    monkeypatch.setattr(claimer, "SHORT_WAIT", 60.0)
    monkeypatch.setattr(claimer, "CALM_AFTER", 600.0)

    def noting(
        worker: LiveWorker, answered: Callable[[int], None] = lambda number: None
    ) -> list[tuple[str, str]]:
        noted: list[tuple[str, str]] = []
        store = worker.parts.waiters[0]._claimant._store

        def watch(name: str) -> None:
            call = getattr(store, name)

            def called(*args: Any, **options: Any) -> Any:
                is_ours = name != "claim" or options["waits_at"]
                if is_ours:
                    noted.append((name, options.get("request", "")))
                number = len(noted)
                reply = call(*args, **options)
                if is_ours:
                    answered(number)
                return reply

            setattr(store, name, called)

        for name in ("claim", "wait_and_claim"):
            watch(name)
        worker.wait_for(worker.start("quick"), "SUCCESS")
        wait_until(lambda: len(noted) == 1)
        return noted

    return noting


def test_a_task_that_comes_alone_takes_one_call(serve: Serve, note: Note) -> None:
    worker = serve(Quick)
    noted = note(worker)
    worker.wait_for(worker.start("quick"), "SUCCESS")
    wait_until(lambda: len(noted) == 2)
    assert [name for name, _ in noted] == ["wait_and_claim"] * 2
    wait_for_all_slots(worker)


def test_a_claim_without_an_answer_is_repeated_and_gets_the_same(serve: Serve, note: Note) -> None:
    def lose_reply(number: int) -> None:
        if number == 1:
            raise RedisUnavailable("cut off")

    worker = serve(Quick)
    noted = note(worker, lose_reply)
    task_id = worker.start("quick")
    assert worker.wait_for(task_id, "SUCCESS") == 1
    wait_until(lambda: len(noted) == 3)
    assert [name for name, _ in noted] == ["wait_and_claim", "claim", "wait_and_claim"]
    assert noted[0][1] == noted[1][1] < noted[2][1]
    wait_for_all_slots(worker)


def test_what_comes_while_redis_is_in_trouble_goes_back_unstarted(serve: Serve, note: Note) -> None:
    worker = serve(Quick)
    noted = note(worker)
    worker.parts.gate.clear()
    task_id = worker.start("quick")
    wait_until(lambda: worker.record(task_id).get("attempts") == "1")
    wait_until(lambda: worker.record(task_id)["state"] == "WAIT")
    assert len(noted) == 1
    worker.parts.gate.set()
    assert worker.wait_for(task_id, "SUCCESS") == 2


def test_what_a_waiter_got_when_it_was_stopped_goes_back(serve: Serve, note: Note) -> None:
    answered, hold = Event(), Event()

    def wait_here(number: int) -> None:
        if number == 1:
            answered.set()
            hold.wait()

    worker = serve(Holds, Quick)
    noted = note(worker, wait_here)
    task_id = worker.start("holds")
    assert answered.wait(PATIENCE)
    assert worker.stop() == 0
    assert worker.record(task_id)["state"] == "WAIT" and started == []
    assert noted[1] == ("claim", noted[0][1])


def test_a_worker_that_stops_while_it_waits_takes_nothing_more(serve: Serve, note: Note) -> None:
    worker = serve(Quick)
    note(worker)
    (waiter,) = worker.parts.waiters
    waiter.kill()
    waiter.join()
    task_id = worker.start("quick")
    waiter.settle()
    assert not waiter._claimant.is_pending
    assert worker.wait_for(task_id, "SUCCESS") == 1


def is_waiting(worker: LiveWorker) -> bool:
    clients = worker.helpers.store._link.execute("CLIENT", "LIST")
    return b"cmd=blmove" in clients


def test_where_slots_are_few_a_wait_holds_none(serve: Serve, note: Note) -> None:
    worker = serve(Quick, Holds, concurrency=3)
    for _ in range(2):
        worker.wait_for(worker.start("quick"), "SUCCESS")
    wait_until(lambda: is_waiting(worker))
    assert worker.parts.table.slots.free == 3
    worker.helpers.start_tasks([("holds", {})] * 3)
    wait_until(lambda: len(started) == 3)
    release.set()


def test_when_no_task_has_come_for_a_while_waits_are_plain(
    serve: Serve, note: Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = serve(Quick)
    noted = note(worker)
    monkeypatch.setattr(claimer, "CALM_AFTER", 0.0)
    for _ in range(3):
        worker.wait_for(worker.start("quick"), "SUCCESS")
    wait_for_all_slots(worker)
    assert len(noted) == 1
