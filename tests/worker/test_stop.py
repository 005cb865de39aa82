"""Stopping running tasks, however they behave."""

import logging
import time
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask import LeaseLost, Task
from pytask.worker.runs import STARTING, STOP
from tests.support.waiting import wait_until
from tests.worker.conftest import LiveWorker, Serve

happened: list[str] = []
instances: list[Task] = []


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    happened.clear()
    instances.clear()


class Recorded(Task):
    def __init__(self) -> None:
        instances.append(self)


class Sleeps(Recorded):
    NAME = "sleeps"

    def start(self) -> None:
        happened.append("start")
        try:
            gevent.sleep(60)
        finally:
            happened.append("end")


class Cooperates(Recorded):
    NAME = "cooperates"

    def __init__(self) -> None:
        super().__init__()
        self.asked = Event()

    def start(self) -> dict[str, int]:
        happened.append("start")
        self.asked.wait()
        return {"offset": 17}

    def stop(self) -> None:
        happened.append("stop")
        self.asked.set()


class SwallowsExceptions(Recorded):
    NAME = "swallows"

    def start(self) -> None:
        happened.append("start")
        while True:
            try:
                gevent.sleep(60)
            except Exception:
                happened.append("swallowed")


class SwallowsEverything(Recorded):
    NAME = "obstinate"

    def start(self) -> None:
        happened.append("start")
        while "let go" not in happened:
            try:
                gevent.sleep(0.05)
            except BaseException as error:
                happened.append(type(error).__name__)


class MadeSlowly(Task):
    NAME = "made-slowly"

    def __init__(self) -> None:
        while "let go" not in happened:
            try:
                gevent.sleep(0.05)
            except BaseException as error:
                happened.append(type(error).__name__)

    def start(self) -> None:
        happened.append("start")


class StopRaises(Sleeps):
    NAME = "stop-raises"

    def stop(self) -> None:
        raise ValueError("stop failed")


class StopHangs(Sleeps):
    NAME = "stop-hangs"

    def stop(self) -> None:
        happened.append("stop")
        while True:
            try:
                gevent.sleep(60)
            finally:
                happened.append("stop interrupted")


class StopDoesNothing(Sleeps):
    NAME = "stop-idle"

    def stop(self) -> None:
        happened.append("stop")


ALL = (
    MadeSlowly,
    Sleeps,
    Cooperates,
    SwallowsExceptions,
    SwallowsEverything,
    StopRaises,
    StopHangs,
    StopDoesNothing,
)


#: A stop must come by message: what the heartbeat brings is too late for any test.
NO_HEARTBEAT = {"update_task_interval": 600.0, "task_timeout": 2000.0}


def running(worker: LiveWorker, name: str) -> str:
    task_id = worker.start(name)
    wait_until(lambda: "start" in happened, message="the task started")
    return task_id


def test_a_stop_ends_a_task_at_once(serve: Serve) -> None:
    worker = serve(*ALL, **NO_HEARTBEAT)
    task_id = running(worker, "sleeps")
    worker.helpers.stop_task(task_id)
    assert worker.wait_for(task_id, "STOPPED") is None
    assert happened == ["start", "end"]
    wait_until(lambda: worker.app.running == 0)


def test_a_stop_by_message_alone_ends_a_task(serve: Serve, raw: Any, namespace: Any) -> None:
    worker = serve(*ALL, **NO_HEARTBEAT)
    task_id = running(worker, "sleeps")
    raw.publish(f"{namespace.task_prefix}{task_id}-control", "stop")
    worker.wait_for(task_id, "STOPPED")


def test_a_stop_whose_message_is_lost_comes_with_the_heartbeat(serve: Serve, store: Any) -> None:
    worker = serve(*ALL, update_task_interval=0.2)
    task_id = running(worker, "sleeps")
    worker.parts.control.kill()
    worker.parts.control.join()
    store.stop(task_id)
    worker.wait_for(task_id, "STOPPED")


def test_a_task_that_defines_stop_ends_by_itself_and_may_leave_an_output(serve: Serve) -> None:
    worker = serve(*ALL)
    task_id = running(worker, "cooperates")
    worker.helpers.stop_task(task_id)
    assert worker.wait_for(task_id, "STOPPED") == {"offset": 17}
    assert happened == ["start", "stop"]


@pytest.mark.topologies("valkey")
def test_except_exception_does_not_swallow_a_stop(serve: Serve) -> None:
    worker = serve(*ALL)
    task_id = running(worker, "swallows")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert "swallowed" not in happened


@pytest.mark.topologies("valkey")
def test_a_task_that_swallows_everything_is_abandoned(serve: Serve, caplog: Any) -> None:
    worker = serve(*ALL, stop_timeout=0.1, concurrency=1)
    task_id = running(worker, "obstinate")
    worker.helpers.stop_task(task_id)
    output = worker.wait_for(task_id, "STOPPED")
    assert "did not obey" in output
    assert happened == ["start", "StopTask", "GreenletExit"]
    error = next(one for one in caplog.records if one.levelno == logging.ERROR)
    assert "cannot be stopped" in error.getMessage() and "gevent.sleep(0.05)" in error.getMessage()
    # Its slot is free, and what it still writes is refused.
    assert worker.start("sleeps") and wait_until(lambda: happened.count("start") == 2)
    with pytest.raises(LeaseLost):
        instances[0].emit("still here")
    happened.append("let go")
    gevent.sleep(0.1)
    assert worker.record(task_id)["state"] == "STOPPED"
    worker.helpers.stop_task(instances[1].id)
    # The slot of either came back once.
    slots = worker.parts.table.slots
    assert wait_until(lambda: slots.free == 1)


@pytest.mark.topologies("valkey")
def test_a_task_that_was_abandoned_in_its_constructor_is_never_started(serve: Serve) -> None:
    worker = serve(*ALL, stop_timeout=0.1, concurrency=1)
    task_id = worker.start("made-slowly")
    wait_until(lambda: worker.parts.table.get(task_id) is not None)
    run = worker.parts.table.get(task_id)
    assert run is not None
    wait_until(lambda: run.phase == STARTING)
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    happened.append("let go")
    assert wait_until(lambda: run.greenlet is None)
    assert "start" not in happened
    assert worker.parts.table.slots.free == 1


@pytest.mark.topologies("valkey")
def test_a_stop_that_raises_does_not_keep_the_task_running(serve: Serve, caplog: Any) -> None:
    worker = serve(*ALL, stop_timeout=600)
    task_id = running(worker, "stop-raises")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert "stop failed" in caplog.text


@pytest.mark.topologies("valkey")
def test_a_stop_that_hangs_is_interrupted_with_its_task(serve: Serve) -> None:
    worker = serve(*ALL, stop_timeout=0.2)
    task_id = running(worker, "stop-hangs")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    wait_until(lambda: sorted(happened) == ["end", "start", "stop", "stop interrupted"])


@pytest.mark.topologies("valkey")
def test_after_stop_returned_start_has_the_rest_of_the_time(serve: Serve) -> None:
    worker = serve(*ALL, stop_timeout=0.3)
    task_id = running(worker, "stop-idle")
    began_at = time.monotonic()
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert time.monotonic() - began_at >= 0.3
    assert happened == ["start", "stop", "end"]


@pytest.mark.topologies("valkey")
def test_a_hung_stop_does_not_delay_other_tasks(serve: Serve) -> None:
    worker = serve(*ALL, stop_timeout=600)
    hung = running(worker, "stop-hangs")
    worker.helpers.stop_task(hung)
    wait_until(lambda: "stop" in happened)
    other = worker.start("sleeps")
    wait_until(lambda: happened.count("start") == 2)
    worker.helpers.stop_task(other)
    worker.wait_for(other, "STOPPED")
    worker.app.stop()
    worker.app.stop()


@pytest.mark.topologies("valkey")
def test_a_stop_during_init_interrupts_it(serve: Serve) -> None:
    class SlowInit(Task):
        NAME = "slow-init"

        def __init__(self) -> None:
            happened.append("start")
            gevent.sleep(60)

        def start(self) -> None:
            happened.append("never")

        def stop(self) -> None:
            happened.append("never")

    worker = serve(SlowInit)
    task_id = running(worker, "slow-init")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert "never" not in happened


@pytest.mark.topologies("valkey")
def test_a_stop_before_the_first_line_counts(serve: Serve) -> None:
    class StopsTheNext(Sleeps):
        NAME = "stops-the-next"

        def start(self) -> None:
            # Claimed in the same batch, so it is there but has not executed a line.
            parts = apps[0]._supervisor.parts
            for run in parts.table.snapshot():
                if run.instance is not self:
                    happened.append(f"phase {run.phase}")
                    parts.runner.request(run, STOP)

    apps: list[Any] = []
    ids: list[str] = []

    def prepare(app: Any) -> None:
        # Before the worker runs, so that it finds both at once.
        ids.extend(app.helpers.start_tasks([("stops-the-next", {}), ("sleeps", {})]))
        apps.append(app)

    worker = serve(*ALL, StopsTheNext, prepare=prepare)
    worker.wait_for(ids[0], "SUCCESS")
    worker.wait_for(ids[1], "STOPPED")
    assert happened == ["phase 0"]


@pytest.mark.topologies("valkey")
def test_a_result_that_is_ready_before_the_stop_counts(serve: Serve) -> None:
    class Finishes(Task):
        NAME = "finishes"

        def start(self) -> int:
            run = worker.parts.table.get(self.id)
            gevent.spawn(worker.parts.runner.request, run, 3)
            return 5

    worker = serve(Finishes)
    assert worker.run_task("finishes") == ("SUCCESS", 5)


@pytest.mark.topologies("valkey")
def test_an_error_while_stopping_is_logged_and_counts_as_stopped(serve: Serve, caplog: Any) -> None:
    class Stumbles(Recorded):
        NAME = "stumbles"

        def start(self) -> None:
            happened.append("start")
            try:
                gevent.sleep(60)
            finally:
                raise RuntimeError("while cleaning up")

    worker = serve(Stumbles)
    task_id = running(worker, "stumbles")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert "while cleaning up" in caplog.text


@pytest.mark.topologies("valkey")
def test_the_finally_of_a_task_has_time(serve: Serve) -> None:
    class CleansUp(Recorded):
        NAME = "cleans-up"

        def start(self) -> None:
            happened.append("start")
            try:
                gevent.sleep(60)
            finally:
                gevent.sleep(0.3)
                happened.append("cleaned up")

    worker = serve(CleansUp, stop_timeout=600)
    task_id = running(worker, "cleans-up")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert happened == ["start", "cleaned up"]


@pytest.mark.topologies("valkey")
def test_unknown_requests_are_ignored(serve: Serve, raw: Any, namespace: Any, caplog: Any) -> None:
    worker = serve(*ALL)
    task_id = running(worker, "sleeps")
    channel = f"{namespace.task_prefix}{task_id}-control"
    for message in ("explode", b"\xff\xfe", "", "stop:now", '{"a": 1}'):
        raw.publish(channel, message)
    raw.publish(f"{namespace.task_prefix}nobody-control", "stop")
    wait_until(lambda: caplog.text.count("unknown and ignored") == 5)
    assert worker.record(task_id)["state"] == "RUNNING"
    raw.publish(channel, "stop")
    worker.wait_for(task_id, "STOPPED")


@pytest.mark.topologies("valkey")
def test_a_task_without_base_class_can_be_stopped(serve: Serve) -> None:
    class Plain:
        NAME = "plain"

        def start(self) -> None:
            happened.append("start")
            gevent.sleep(60)

    worker = serve(Plain)
    task_id = running(worker, "plain")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
