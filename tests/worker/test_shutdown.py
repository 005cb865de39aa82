"""How a worker ends."""

import time
from typing import Any

import gevent
import pytest

from pytask import PyTask, Task
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import Serve
from tests.worker.works import Works, ended, nothing_happened, release, started

__all__ = ["nothing_happened"]  # a fixture


class Obstinate(Task):
    NAME = "obstinate"

    def start(self) -> None:
        started.append(self.id)
        while not release.is_set():
            try:
                gevent.sleep(0.02)
            except BaseException:
                ended.append("refused")


def test_running_tasks_are_stopped_and_requeued(
    serve: Serve, raw: Any, keys: Any, dump: Any
) -> None:
    worker = serve(Works)
    ids = worker.helpers.start_tasks([("works", {})] * 10)
    wait_until(lambda: len(started) == 10)
    assert worker.stop() == 0
    assert len(ended) == 10
    assert sorted(worker.helpers.get_new_task_ids()) == sorted(ids)
    assert worker.helpers.get_active_task_ids() == []
    for one in ids:
        record = worker.record(one)
        assert record["state"] == "WAIT" and "run" not in record and "worker" not in record
    left = [key for key in dump() if ":lease" in key or ":claim" in key]
    assert left == []


def test_an_idle_worker_ends_at_once(serve: Serve) -> None:
    worker = serve(Works, block_seconds=600)
    assert worker.stop() == 0


def test_draining_lets_tasks_end_and_takes_no_more(serve: Serve) -> None:
    worker = serve(Works, drain_timeout=600.0)
    ids = worker.helpers.start_tasks([("works", {})] * 3)
    wait_until(lambda: len(started) == 3)
    worker.app.stop()
    late = worker.start("works")
    gevent.sleep(0.3)
    assert ended == []
    release.set()
    assert worker.wait() == 0
    assert {worker.record(one)["state"] for one in ids} == {"SUCCESS"}
    assert worker.record(late)["state"] == "WAIT"


@pytest.mark.topologies("valkey")
def test_draining_ends_when_its_time_is_over(serve: Serve) -> None:
    worker = serve(Works, drain_timeout=0.3)
    task_id = worker.start("works")
    wait_until(lambda: started)
    began_at = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began_at >= 0.3
    assert worker.record(task_id)["state"] == "WAIT"


@pytest.mark.topologies("valkey")
def test_draining_does_not_wait_for_local_tasks(serve: Serve) -> None:
    worker = serve(Works, drain_timeout=600.0, prepare=lambda app: app.start_local_task("works"))
    wait_until(lambda: started)
    assert worker.stop() == 0


def test_local_tasks_are_removed(serve: Serve, dump: Any) -> None:
    worker = serve(Works, prepare=lambda app: app.start_local_task("works"))
    wait_until(lambda: started)
    assert worker.record(started[0])["local"] == "true"
    assert worker.free_slots == 1000
    assert worker.stop() == 0
    assert ended == started and worker.record(started[0]) == {}
    assert not [key for key in dump() if started[0] in key]


@pytest.mark.topologies("valkey")
def test_a_second_stop_requeues_at_once(serve: Serve) -> None:
    worker = serve(Works, Obstinate, drain_timeout=600.0, stop_timeout=600.0)
    ids = [worker.start("works"), worker.start("obstinate")]
    wait_until(lambda: len(started) == 2)
    worker.app.stop()
    gevent.sleep(0.1)
    assert worker.stop() == 0
    assert {worker.record(one)["state"] for one in ids} == {"WAIT"}


@pytest.mark.topologies("valkey")
def test_a_task_that_does_not_stop_is_requeued_all_the_same(serve: Serve) -> None:
    worker = serve(Obstinate, stop_timeout=0.2)
    task_id = worker.start("obstinate")
    wait_until(lambda: started)
    assert worker.stop() == 0
    assert worker.record(task_id)["state"] == "WAIT"


@pytest.mark.topologies("valkey")
def test_a_task_that_was_told_to_stop_is_not_requeued(serve: Serve) -> None:
    class SlowToStop(Works):
        NAME = "slow-to-stop"

        def stop(self) -> None:
            asked.append(self.id)

    asked: list[str] = []
    worker = serve(SlowToStop, stop_timeout=0.5)
    task_id = worker.start("slow-to-stop")
    wait_until(lambda: started)
    worker.helpers.stop_task(task_id)
    wait_until(lambda: asked)
    assert worker.stop() == 0
    assert worker.record(task_id)["state"] == "STOPPED"


@pytest.mark.topologies("valkey")
def test_outcomes_that_redis_does_not_take_are_told_by_the_status(
    valkey_server: Any, proxy: Any, serve: Serve, caplog: Any
) -> None:
    relay = proxy(valkey_server)
    worker = serve(Works, at=relay.url, stop_timeout=0.5, beat_interval=0.2)
    worker.start("works")
    wait_until(lambda: started)
    relay.black_hole()
    assert worker.stop() == 1
    assert "Redis did not take the end of 1 tasks" in caplog.text
    assert "Monitor" in caplog.text


@pytest.mark.topologies("valkey")
def test_a_start_without_redis_keeps_trying_and_can_be_stopped(
    valkey_server: Any, proxy: Any, app: Any, caplog: Any
) -> None:
    relay = proxy(valkey_server)
    relay.refuse()
    one = app(Works, at=relay.url)
    running = gevent.spawn(one.run)
    wait_until(lambda: caplog.text.count("cannot be reached") >= 2)
    relay.allow()
    one.start_local_task("works")
    wait_until(lambda: started)
    one.stop()
    running.join(PATIENCE)
    assert running.successful()


@pytest.mark.topologies("valkey")
def test_a_start_without_redis_ends_when_asked(valkey_server: Any, proxy: Any, app: Any) -> None:
    relay = proxy(valkey_server)
    relay.black_hole()
    one = app(Works, at=relay.url)
    running = gevent.spawn(one.run)
    gevent.sleep(0.2)
    one.stop()
    running.join(PATIENCE)
    assert running.successful()


@pytest.mark.topologies("valkey")
def test_an_app_can_run_again(serve: Serve, app: Any) -> None:
    one = app(Works)
    release.set()
    names = []
    for count in (1, 2):
        running = gevent.spawn(one.run)
        names.append(one.worker_id)
        one.helpers.start_task("works")
        wait_until(lambda count=count: len(ended) == count)
        one.stop()
        running.join(PATIENCE)
        assert running.successful()
    assert names[0] != names[1]


@pytest.mark.topologies("valkey")
def test_an_app_runs_once_at_a_time(serve: Serve) -> None:
    worker = serve(Works)
    with pytest.raises(ValueError, match="runs already"):
        worker.app.run()


def test_stopping_an_app_that_does_not_run_is_harmless() -> None:
    app = PyTask("redis://localhost:1")
    app.stop()
    assert app.running == 0
