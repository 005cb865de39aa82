"""A greenlet carries out one run after the other, and no run notices."""

from contextvars import ContextVar
from typing import Any
from weakref import getweakrefcount

import gevent
import pytest
from gevent.local import local
from greenlet import greenlet

from pytask import Task
from pytask.concurrency import greenlet as executor
from pytask.concurrency.spares import Spares
from tests.support.waiting import wait_until
from tests.worker.conftest import Serve

greenlets: list[int] = []
watched: list[int] = []
kept: list[Any] = []
variable: ContextVar[str] = ContextVar("variable", default="nothing")
mine = local()


class Notes(Task):
    """Notes which greenlet it runs in, and what it finds there."""

    NAME = "notes"

    def __init__(self, keep: str = "") -> None:
        self.keep = keep

    def start(self) -> str:
        me = gevent.getcurrent()
        greenlets.append(id(me))
        watched.append(getweakrefcount(me))
        found = variable.get()
        variable.set(f"set by {self.id}")
        if self.keep == "local":
            found = getattr(mine, "value", found)
            mine.value = f"set by {self.id}"
        elif self.keep == "itself":
            kept.append(me)
        elif self.keep == "timeout":
            gevent.Timeout(0.01).start()
        elif self.keep == "rest":
            gevent.sleep(0.1)
        return found


class Fails(Task):
    """A coroutine that fails."""

    NAME = "fails"

    async def start(self) -> None:
        raise ValueError("expected")


def run_two(serve: Serve, first: str, second: str = "") -> list[int]:
    """Run one task after the other; return which greenlets they had."""
    greenlets.clear()
    watched.clear()
    worker = serve(Notes)
    for keep in (first, second):
        assert worker.run_task("notes", keep=keep) == ("SUCCESS", "nothing")
    return list(greenlets)


def test_tasks_one_after_the_other_share_a_greenlet_and_no_context(serve: Serve) -> None:
    first, second = run_two(serve, "")
    # While coverage is measured it knows every greenlet that has run.
    assert (first == second) is not any(watched)


def test_what_gevent_keeps_for_a_greenlet_is_not_there_for_the_next_task(serve: Serve) -> None:
    first, second = run_two(serve, "local", "local")
    assert first != second


def test_a_greenlet_somebody_has_kept_is_not_used_again(serve: Serve) -> None:
    first, second = run_two(serve, "itself")
    assert first != second
    kept.clear()


def test_a_time_out_that_was_never_cancelled_does_not_hit_the_next_task(serve: Serve) -> None:
    run_two(serve, "timeout", "rest")


class NoMemory:
    """A greenlet for whose stack there is none."""

    def switch(self, *args: Any) -> None:
        raise MemoryError


def test_a_task_whose_greenlet_cannot_be_entered_goes_back_to_its_queue(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, missing = Spares.take, [NoMemory(), NoMemory()]
    monkeypatch.setattr(Spares, "take", lambda self: missing.pop() if missing else take(self))
    worker = serve(Notes)
    ids = worker.helpers.start_tasks([("notes", {})] * 3)
    for task_id in ids:
        worker.wait_for(task_id, "SUCCESS")
    assert sum(int(worker.record(one)["attempts"]) for one in ids) == 5
    wait_until(lambda: worker.free_slots == worker.parts.table.slots.total)


def test_a_coroutine_for_whose_end_there_is_no_memory_goes_back_to_its_queue(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [NoMemory()]
    monkeypatch.setattr(
        executor, "greenlet", lambda *args: missing.pop() if missing else greenlet(*args)
    )
    worker = serve(Fails)
    task_id = worker.start("fails")
    worker.wait_for(task_id, "EXCEPTION")
    assert worker.record(task_id)["attempts"] == "2"
