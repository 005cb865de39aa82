"""A run in asyncio mode has no greenlet while its coroutine is under way, and nobody notices."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gevent
import pytest

from pytask import Task, current_task
from tests.support.waiting import wait_until
from tests.worker.conftest import LiveWorker, Serve

pytestmark = pytest.mark.topologies("valkey")

happened: list[Any] = []
variable: ContextVar[str] = ContextVar("variable", default="nothing")


@pytest.fixture(autouse=True)
def _nothing_has_happened() -> None:
    happened.clear()
    Sleeps.gate = False


def stopped_when(worker: LiveWorker, seen: str, task: str, **data: Any) -> str:
    """Start a task, and have it stopped when that has happened."""
    task_id = worker.start(task, **data)
    wait_until(lambda: happened == [seen])
    worker.helpers.stop_task(task_id)
    return task_id


class Sleeps(Task):
    """Waits until the gate is open, whatever is done to it."""

    NAME = "sleeps"
    gate = False

    def __init__(self, obeys: bool = True) -> None:
        self.obeys = obeys

    async def start(self) -> str:
        happened.append("began")
        while not Sleeps.gate:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                happened.append("cancelled")
                if self.obeys:
                    raise
        happened.append("ended")
        return "too late"


class Ends(Task):
    """Ends in some way."""

    NAME = "ends"

    def __init__(self, how: str) -> None:
        self.how = how

    async def start(self) -> Any:
        await asyncio.sleep(0)
        if self.how == "unfit":
            return object()
        raise {
            "exit": SystemExit,
            "interrupt": KeyboardInterrupt,
            "cancelled": asyncio.CancelledError,
            "value": ValueError,
        }[self.how]("boom")


@pytest.mark.parametrize("how", ["exit", "interrupt", "cancelled", "value", "unfit"])
def test_how_one_ends_does_not_touch_the_others(serve: Serve, how: str) -> None:
    worker = serve(Sleeps, Ends)
    other = worker.start("sleeps")
    wait_until(lambda: happened == ["began"])
    state, output = worker.run_task("ends", how=how)
    assert state == "EXCEPTION"
    assert ("not JSON" if how == "unfit" else "boom") in output
    Sleeps.gate = True
    assert worker.wait_for(other, "SUCCESS") == "too late"


def test_an_exception_handler_may_wait_and_knows_the_task(serve: Serve) -> None:
    def handler(error: BaseException) -> None:
        gevent.sleep(0.01)
        happened.append((current_task().id, str(error)))

    worker = serve(Ends, prepare=lambda app: app.add_exception_handler(handler))
    task_id = worker.start("ends", how="value")
    worker.wait_for(task_id, "EXCEPTION")
    assert happened == [(task_id, "boom")]


def test_what_an_abandoned_coroutine_returns_is_ignored(serve: Serve) -> None:
    worker = serve(Sleeps, stop_timeout=0.05)
    task_id = stopped_when(worker, "began", "sleeps", obeys=False)
    assert "did not obey" in worker.wait_for(task_id, "STOPPED")
    Sleeps.gate = True
    wait_until(lambda: happened[-1] == "ended")
    assert happened == ["began", "cancelled", "cancelled", "ended"]
    # A run that begins after it has ended as it should.
    assert worker.run_task("sleeps") == ("SUCCESS", "too late")
    assert worker.record(task_id)["state"] == "STOPPED"


class WaitsBefore(Task):
    """Is stopped before there is a coroutine."""

    NAME = "waits-before"

    def __init__(self) -> None:
        happened.append("init")
        gevent.sleep(600)

    async def start(self) -> None:
        happened.append("began")


def test_a_task_is_stopped_in_its_init(serve: Serve) -> None:
    worker = serve(WaitsBefore, stop_timeout=600.0)
    task_id = stopped_when(worker, "init", "waits-before")
    worker.wait_for(task_id, "STOPPED")
    assert happened == ["init"]


class SwallowsInInit(Sleeps):
    """Lets an interruption pass before there is a coroutine."""

    NAME = "swallows"

    def __init__(self) -> None:
        super().__init__()
        happened.append("init")
        try:
            gevent.sleep(600)
        except BaseException:
            happened.append("swallowed")


def test_a_coroutine_is_cancelled_if_its_init_took_no_notice(serve: Serve) -> None:
    worker = serve(SwallowsInInit, stop_timeout=0.05)
    task_id = stopped_when(worker, "init", "swallows")
    worker.wait_for(task_id, "STOPPED")
    assert happened == ["init", "swallowed", "began", "cancelled"]


class SlowStop(Sleeps):
    """``stop`` goes on after the coroutine has ended."""

    NAME = "slow-stop"

    async def stop(self) -> None:  # type: ignore[override]
        Sleeps.gate = True
        while "ended" not in happened:
            await asyncio.sleep(0.01)
        happened.append("stopped")


def test_a_run_ends_when_its_stop_has_ended_as_well(serve: Serve) -> None:
    worker = serve(SlowStop, stop_timeout=600.0)
    task_id = stopped_when(worker, "began", "slow-stop")
    assert worker.wait_for(task_id, "STOPPED") == "too late"
    assert happened == ["began", "ended", "stopped"]


class InContext(Sleeps):
    """Its context knows in which greenlet it was entered, and sets a variable."""

    NAME = "in-context"

    @staticmethod
    @contextmanager
    def provide_context() -> Iterator[None]:
        entered_in = gevent.getcurrent()
        before = variable.set("in the context")
        yield
        variable.reset(before)
        happened.append(("left", gevent.getcurrent() is entered_in))

    async def start(self) -> str:
        await super().start()
        return variable.get()


def test_a_context_is_left_by_the_greenlet_that_has_entered_it(serve: Serve) -> None:
    worker = serve(InContext)
    task_id = worker.start("in-context")
    wait_until(lambda: happened == ["began"])
    Sleeps.gate = True
    assert worker.wait_for(task_id, "SUCCESS") == "in the context"
    assert happened == ["began", "ended", ("left", True)]
