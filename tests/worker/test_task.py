"""The base class, with and without a worker."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pytask import Task, run_loop
from pytask.exceptions import TaskStateError
from tests.support.waiting import PATIENCE
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
        self.progress(1)
        self.progress(2, total=3)
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
    channel = raw.pubsub()
    channel.subscribe(f"{namespace.task_prefix}e")
    assert channel.get_message(timeout=PATIENCE)["type"] == "subscribe"
    worker = serve(Emits)
    worker.start("emits", task_id="e")
    worker.wait_for("e", "SUCCESS")
    # On a cluster they come over a node that may be behind the one with the record.
    heard = []
    while not heard or heard[-1]["event"] != "plain":
        message = channel.get_message(timeout=PATIENCE)
        assert message, heard
        heard.append(json.loads(message["data"]))
    channel.close()
    assert {"event": "progress", "data": {"done": 1}} in heard
    assert {"event": "progress", "data": {"done": 2, "total": 3}} in heard
    assert heard[-1] == {"event": "plain", "data": None}


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


@pytest.mark.parametrize(
    ("takes", "begin_at"),
    [(2.0, [0, 5, 10, 15, 20]), (7.0, [0, 7, 14, 21, 28])],
    ids=["short calls begin at each interval", "long ones follow at once"],
)
def test_run_loop_keeps_its_pace_as_far_as_the_calls_allow(
    monkeypatch: pytest.MonkeyPatch, takes: float, begin_at: list[float]
) -> None:
    now = 0.0
    calls: list[float] = []

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    def call() -> None:
        calls.append(now)
        pass_time(takes)
        if len(calls) == 5:
            raise Enough

    clock = SimpleNamespace(monotonic=lambda: now, sleep=pass_time)
    monkeypatch.setattr("pytask.loops.time", clock)
    with pytest.raises(Enough):
        run_loop(call, 5.0)
    assert calls == begin_at
