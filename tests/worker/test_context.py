"""``provide_context``: one context for each run, left whatever happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask import StopTask, Task
from tests.support.waiting import wait_until
from tests.worker.conftest import Serve

pytestmark = pytest.mark.topologies("valkey")

happened: list[str] = []
current: ContextVar[str] = ContextVar("current", default="nothing")
numbers = iter(range(1_000_000))


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    happened.clear()


@contextmanager
def recorded() -> Iterator[None]:
    name = f"context {next(numbers)}"
    happened.append("enter")
    token = current.set(name)
    try:
        yield
    except BaseException as error:
        happened.append(f"leave with {type(error).__name__}")
        raise
    else:
        happened.append("leave")
    finally:
        current.reset(token)


class InContext(Task):
    NAME = "in-context"

    def __init__(self, fail: str = "") -> None:
        happened.append("init")
        self.fail = fail
        if fail == "init":
            raise ValueError("init")

    @staticmethod
    def provide_context() -> Any:
        return recorded()

    def start(self) -> str:
        happened.append("start")
        if self.fail == "start":
            raise ValueError("start")
        return current.get()


class Waits(InContext):
    NAME = "waits"

    def __init__(self) -> None:
        super().__init__()
        self.asked = Event()

    def start(self) -> str:
        happened.append("start")
        self.asked.wait()
        return ""

    def stop(self) -> None:
        happened.append(f"stop in {current.get().split()[0]}")
        self.asked.set()
        gevent.sleep(0.05)
        happened.append("stop ends")


def test_the_context_is_entered_before_init_and_left_after_start(serve: Serve) -> None:
    state, output = serve(InContext).run_task("in-context")
    assert state == "SUCCESS" and output.startswith("context")
    assert happened == ["enter", "init", "start", "leave"]


def test_each_run_has_a_context_of_its_own(serve: Serve) -> None:
    worker = serve(InContext)
    ids = [worker.start("in-context") for _ in range(5)]
    names = {worker.wait_for(task_id, "SUCCESS") for task_id in ids}
    assert len(names) == 5


@pytest.mark.parametrize("place", ["init", "start"])
def test_the_context_is_left_when_the_task_fails(serve: Serve, place: str) -> None:
    state, _ = serve(InContext).run_task("in-context", fail=place)
    assert state == "EXCEPTION"
    assert happened[-1] == "leave with ValueError"


def test_stop_runs_in_the_context_which_is_left_after_it(serve: Serve) -> None:
    worker = serve(Waits)
    task_id = worker.start("waits")
    wait_until(lambda: "start" in happened)
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert happened == ["enter", "init", "start", "stop in context", "stop ends", "leave"]


def test_the_context_is_left_when_the_task_is_interrupted(serve: Serve) -> None:
    class Sleeps(InContext):
        NAME = "sleeps"

        def start(self) -> str:
            happened.append("start")
            gevent.sleep(60)
            return ""

    worker = serve(Sleeps)
    task_id = worker.start("sleeps")
    wait_until(lambda: "start" in happened)
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert happened[-1] == f"leave with {StopTask.__name__}"


def test_a_reload_leaves_the_context_and_enters_a_new_one(serve: Serve) -> None:
    worker = serve(Waits)
    task_id = worker.start("waits")
    wait_until(lambda: "start" in happened)
    worker.helpers.reload_task(task_id)
    wait_until(lambda: happened.count("start") == 2)
    assert happened.index("leave") < happened.index("enter", 1)


@pytest.mark.parametrize("place", ["make", "enter", "exit"])
def test_a_context_that_fails_ends_the_task_in_exception(serve: Serve, place: str) -> None:
    class Broken:
        def __enter__(self) -> None:
            if place == "enter":
                raise RuntimeError("enter")

        def __exit__(self, *_: object) -> None:
            if place == "exit":
                raise RuntimeError("exit")

    class Fails(Task):
        NAME = "fails"

        @staticmethod
        def provide_context() -> Any:
            if place == "make":
                raise RuntimeError("make")
            return Broken()

        def start(self) -> None:
            pass

    state, output = serve(Fails).run_task("fails")
    assert state == "EXCEPTION" and output.endswith(f"RuntimeError: {place}")


def test_a_context_that_hangs_at_its_end_can_be_stopped(serve: Serve) -> None:
    class Hangs(Task):
        NAME = "hangs"

        @staticmethod
        @contextmanager
        def provide_context() -> Iterator[None]:
            yield
            happened.append("leaving")
            gevent.sleep(60)

        def start(self) -> None:
            pass

    worker = serve(Hangs, stop_timeout=0.1)
    task_id = worker.start("hangs")
    wait_until(lambda: "leaving" in happened)
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")


def test_context_variables_of_one_run_are_not_seen_by_another(serve: Serve) -> None:
    class Sets(Task):
        NAME = "sets"

        def start(self) -> str:
            before = current.get()
            current.set("set by a task")
            return before

    worker = serve(Sets)
    assert [worker.run_task("sets") for _ in range(3)] == [("SUCCESS", "nothing")] * 3
