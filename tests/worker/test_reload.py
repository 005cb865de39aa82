"""Reloading running tasks."""

import json
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask import Task
from pytask.worker.runs import STOP
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import Serve

started: list[tuple[str, str]] = []
ended: list[str] = []


@pytest.fixture(autouse=True)
def nothing_happened() -> None:
    started.clear()
    ended.clear()


class Follows(Task):
    NAME = "follows"

    def __init__(self, stream: str) -> None:
        self.stream = stream

    def start(self) -> None:
        started.append((self.stream, self.token))
        try:
            gevent.sleep(60)
        finally:
            ended.append(self.stream)


def streams() -> list[str]:
    return [stream for stream, _ in started]


def test_a_reload_starts_the_task_again_with_fresh_data(serve: Serve, raw: Any, keys: Any) -> None:
    worker = serve(Follows, update_task_interval=0.2)
    task_id = worker.start("follows", stream="a")
    wait_until(lambda: streams() == ["a"])
    raw.hset(keys.of(task_id).record(task_id), "data", json.dumps({"stream": "b"}))
    worker.helpers.reload_task(task_id)
    wait_until(lambda: streams() == ["a", "b"])
    assert ended == ["a"]
    # The same run under the same token, and reloaded once although the heartbeat brings it again.
    assert started[0][1] == started[1][1] == worker.record(task_id)["run"]
    due = worker.parts.heartbeat.leases_acked_at[:]
    wait_until(
        lambda: all(
            new > old + 0.3
            for new, old in zip(worker.parts.heartbeat.leases_acked_at, due, strict=True)
        )
    )
    assert streams() == ["a", "b"]
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")


def test_a_reload_whose_message_is_lost_comes_with_the_heartbeat(serve: Serve, store: Any) -> None:
    worker = serve(Follows, update_task_interval=0.2)
    task_id = worker.start("follows", stream="a")
    wait_until(lambda: streams() == ["a"])
    worker.parts.control.kill()
    worker.parts.control.join()
    store.reload(task_id)
    wait_until(lambda: streams() == ["a", "a"])


@pytest.mark.topologies("valkey")
def test_reloads_by_hand_are_carried_out_each_time(serve: Serve, raw: Any, namespace: Any) -> None:
    worker = serve(Follows)
    task_id = worker.start("follows", stream="a")
    for count in range(1, 4):
        wait_until(lambda count=count: len(started) == count)
        raw.publish(f"{namespace.task_prefix}{task_id}-control", "reload")
    wait_until(lambda: len(started) == 4)


@pytest.mark.topologies("valkey")
def test_a_reload_tells_subscribers(serve: Serve) -> None:
    worker = serve(Follows)
    future = worker.helpers.submit("follows", {"stream": "a"}, watch=True)
    wait_until(lambda: streams() == ["a"])
    future.reload()
    events = future.events(timeout=PATIENCE)
    assert next(event for event in events if event.name == "reloaded")


@pytest.mark.topologies("valkey")
def test_data_that_do_not_fit_after_a_reload_end_the_task(
    serve: Serve, raw: Any, keys: Any
) -> None:
    worker = serve(Follows)
    task_id = worker.start("follows", stream="a")
    wait_until(lambda: streams() == ["a"])
    raw.hset(keys.of(task_id).record(task_id), "data", "[]")
    worker.helpers.reload_task(task_id)
    assert "not an object" in worker.wait_for(task_id, "EXCEPTION")


@pytest.mark.topologies("valkey")
def test_a_stop_during_a_reload_wins(serve: Serve) -> None:
    class SlowToEnd(Follows):
        NAME = "slow-to-end"

        def start(self) -> None:
            try:
                super().start()
            finally:
                stop_is_known.wait()

    stop_is_known = Event()
    worker = serve(SlowToEnd, stop_timeout=60)
    task_id = worker.start("slow-to-end", stream="a")
    wait_until(lambda: streams() == ["a"])
    worker.helpers.reload_task(task_id)
    wait_until(lambda: ended == ["a"])
    (run,) = worker.parts.table.snapshot()
    worker.helpers.stop_task(task_id)
    wait_until(lambda: run.intent == STOP)
    stop_is_known.set()
    worker.wait_for(task_id, "STOPPED")
    assert streams() == ["a"]


@pytest.mark.topologies("valkey")
def test_a_task_that_ignores_a_reload_is_stopped_instead(serve: Serve) -> None:
    class Obstinate(Task):
        NAME = "obstinate"

        def start(self) -> None:
            started.append(("", self.token))
            while not ended:
                with suppress(BaseException):
                    gevent.sleep(0.02)

    worker = serve(Obstinate, stop_timeout=0.1)
    task_id = worker.start("obstinate")
    wait_until(lambda: len(started) == 1)
    worker.helpers.reload_task(task_id)
    assert "did not obey" in worker.wait_for(task_id, "STOPPED")
    assert len(started) == 1
    ended.append("")


@pytest.mark.topologies("valkey")
def test_a_reload_of_a_task_that_was_taken_away_loses_it(
    serve: Serve, raw: Any, namespace: Any
) -> None:
    worker = serve(Follows)
    task_id = worker.start("follows", stream="a")
    wait_until(lambda: streams() == ["a"])
    raw.hset(f"{namespace.task_prefix}{task_id}", "run", "9-somebody-else")
    raw.publish(f"{namespace.task_prefix}{task_id}-control", "reload")
    wait_until(lambda: worker.app.running == 0)
    assert streams() == ["a"]
    assert worker.record(task_id)["run"] == "9-somebody-else"


def test_a_local_task_can_be_reloaded(serve: Serve) -> None:
    worker = serve(Follows, prepare=lambda app: app.start_local_task("follows", stream="l"))
    wait_until(lambda: streams() == ["l"])
    (run,) = worker.parts.table.snapshot()
    worker.helpers.reload_task(run.task_id)
    wait_until(lambda: streams() == ["l", "l"])
    assert started[0][1] == started[1][1]
