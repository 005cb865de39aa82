"""The base class, with and without a worker."""

import json
import time
from typing import Any

import pytest

from pytask import Task, run_loop
from pytask.exceptions import TaskStateError
from tests.worker.conftest import Serve


class Knows(Task):
    NAME = "knows"

    def start(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "token": self.token,
            "attempt": self.attempt,
            "redis": type(self.redis).__name__,
            "helpers": type(self.helpers).__name__,
        }


class Hides(Task):
    NAME = "hides"

    def __init__(self, id: str, token: str, redis: str) -> None:
        self.id = id
        self.token = token
        self.redis = redis

    def start(self) -> list[str]:
        self.emit("mine")
        return [self.id, self.token, self.redis]


class Emits(Task):
    NAME = "emits"

    def start(self) -> None:
        self.emit("progress", {"done": 1})
        self.emit("plain")


def test_a_task_knows_its_run(serve: Serve) -> None:
    worker = serve(Knows)
    task_id = worker.start("knows", task_id="me")
    output = worker.wait_for(task_id, "SUCCESS")
    assert output["id"] == "me" and output["attempt"] == 1
    assert output["token"] == worker.record("me")["done_run"]
    assert output["helpers"] == "PyTaskHelpers" and output["redis"]


@pytest.mark.topologies("valkey")
def test_attributes_of_the_task_hide_those_of_the_run(serve: Serve) -> None:
    state, output = serve(Hides).run_task("hides", id="a", token="b", redis="c")
    assert (state, output) == ("SUCCESS", ["a", "b", "c"])


def test_emit_publishes_event_and_data(serve: Serve, raw: Any, namespace: Any) -> None:
    channel = raw.pubsub(ignore_subscribe_messages=True)
    channel.subscribe(f"{namespace.task_prefix}e")
    channel.get_message(timeout=1)
    worker = serve(Emits)
    worker.start("emits", task_id="e")
    worker.wait_for("e", "SUCCESS")
    events = []
    while (message := channel.get_message(timeout=0.5)) is not None:
        events.append(json.loads(message["data"]))
    channel.close()
    assert {"event": "progress", "data": {"done": 1}} in events
    assert {"event": "plain", "data": None} in events


@pytest.mark.parametrize("name", ["id", "token", "attempt", "redis", "helpers"])
def test_outside_a_worker_there_is_no_run(name: str) -> None:
    with pytest.raises(TaskStateError, match=f"Knows.{name} exists only while a worker runs"):
        getattr(Knows(), name)


def test_outside_a_worker_nothing_can_be_emitted() -> None:
    with pytest.raises(TaskStateError, match=r"Knows\.emit"):
        Knows().emit("x")


def test_the_base_class_takes_no_options_and_has_no_work() -> None:
    with pytest.raises(TypeError):
        Task(typo=1)  # type: ignore[call-arg]
    with pytest.raises(NotImplementedError, match="Task does not define start"):
        Task().start()
    assert Task().stop() is None  # type: ignore[func-returns-value]


def test_attributes_of_the_run_are_documented() -> None:
    assert "ID of this task" in (Task.id.__doc__ or "")


class Enough(Exception):
    pass


def test_run_loop_keeps_its_pace() -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(time.monotonic())
        time.sleep(0.02)
        if len(calls) == 5:
            raise Enough

    with pytest.raises(Enough):
        run_loop(call, 0.05)
    assert 0.2 <= calls[-1] - calls[0] < 0.4


def test_run_loop_does_not_wait_after_a_long_call() -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(time.monotonic())
        time.sleep(0.02)
        if len(calls) == 5:
            raise Enough

    with pytest.raises(Enough):
        run_loop(call, 0.001)
    assert calls[-1] - calls[0] < 0.2
