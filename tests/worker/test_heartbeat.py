"""Leases and registry while the worker runs, and while its hub does not."""

import time
from typing import Any

import gevent
import pytest

from pytask import Task
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import Serve

#: How old the last acknowledged beat, and refresh, were when a task gave way again.
blocked: list[tuple[float, float]] = []
#: The heartbeat under test.
current: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_blocked() -> None:
    blocked.clear()
    current.clear()


class Sleeps(Task):
    NAME = "sleeps"

    def start(self) -> None:
        gevent.sleep(60)


class Computes(Task):
    """Does not give way for a while."""

    NAME = "computes"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def start(self) -> None:
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            pass
        # By this clock, while nobody but the heartbeat thread could run.
        now = time.monotonic()
        blocked.append((now - current[0].acked_at, now - min(current[0].leases_acked_at)))


def test_leases_of_running_tasks_are_refreshed(serve: Serve, raw: Any, keys: Any) -> None:
    worker = serve(Sleeps, update_task_interval=0.2, heartbeat_batch=3)
    ids = worker.helpers.start_tasks([("sleeps", {})] * 20)
    wait_until(lambda: worker.app.running == 20)
    first = {one: float(worker.record(one)["last_update"]) for one in ids}
    wait_until(
        lambda: all(float(worker.record(one)["last_update"]) > first[one] + 0.4 for one in ids)
    )
    leases = {}
    for partition in keys.partitions:
        leases.update(dict(raw.zrange(partition.leases, 0, -1, withscores=True)))
    assert set(leases) == set(ids)
    assert all(leases[one] > first[one] for one in ids)


def test_the_registry_knows_the_worker(serve: Serve) -> None:
    queues = ("default", "mail")
    worker = serve(Sleeps, concurrency=7, beat_interval=0.1, queues=queues, node="here")
    worker.start("sleeps")
    wait_until(lambda: worker.app.running == 1)

    def entry() -> Any:
        (info,) = worker.helpers.store.list_workers()
        return info if info.details["running"] == "1" else None

    info = wait_until(entry)
    assert info.worker == worker.app.worker_id and info.alive
    assert info.details["concurrency"] == "7"
    assert info.details["queues"] == "default,mail,node.here"
    assert worker.app.worker_id.split("-")[-2] == info.details["pid"]
    assert worker.stop() == 0
    (info,) = worker.helpers.store.list_workers()
    assert not info.alive


@pytest.mark.topologies("valkey")
def test_a_task_that_blocks_the_hub_costs_nobody_a_lease(serve: Serve) -> None:
    worker = serve(Sleeps, Computes, update_task_interval=0.2, beat_interval=0.1)
    current.append(worker.parts.heartbeat)
    sleeper = worker.start("sleeps")
    wait_until(lambda: worker.app.running == 1)
    assert worker.run_task("computes", seconds=2.0) == ("SUCCESS", None)
    # Meanwhile, that is: the thread went on.
    assert max(blocked[0]) < 2.0
    assert worker.record(sleeper)["state"] == "RUNNING"


@pytest.mark.topologies("valkey")
def test_a_hub_that_is_stuck_for_too_long_loses_its_leases(
    serve: Serve, raw: Any, namespace: Any, caplog: Any
) -> None:
    worker = serve(
        Sleeps, Computes, update_task_interval=0.2, beat_interval=0.1, hub_stall_timeout=0.5
    )
    sleeper = worker.start("sleeps")
    wait_until(lambda: worker.app.running == 1)
    heartbeat = worker.parts.heartbeat
    current.append(heartbeat)
    worker.start("computes", seconds=2.5)
    wait_until(lambda: blocked)
    assert blocked[0][0] > 1.0
    turned_at = time.monotonic()
    assert "the hub has been stuck for" in caplog.text
    wait_until(lambda: "the hub turns again" in caplog.text)
    wait_until(lambda: heartbeat.acked_at > turned_at)
    # Nobody took its tasks meanwhile, so they go on.
    wait_until(lambda: worker.app.running == 1)
    assert worker.record(sleeper)["state"] == "RUNNING"


@pytest.mark.topologies("valkey")
def test_a_beat_that_fails_for_a_wrong_type_is_reported_and_repeated(
    serve: Serve, raw: Any, namespace: Any, caplog: Any
) -> None:
    worker = serve(Sleeps, beat_interval=0.1)
    raw.delete(f"{namespace.task_set}:workers")
    raw.set(f"{namespace.task_set}:workers", "text")
    wait_until(lambda: "registry beat failed" in caplog.text)
    raw.delete(f"{namespace.task_set}:workers")
    wait_until(lambda: raw.zcard(f"{namespace.task_set}:workers") == 1)
    assert caplog.text.count("registry beat failed") == 1
    wait_until(lambda: not worker.parts.heartbeat.is_failing)


@pytest.mark.topologies("valkey")
def test_hurrying_refreshes_at_once(serve: Serve) -> None:
    worker = serve(
        Sleeps,
        update_task_interval=600.0,
        task_timeout=2000.0,
        beat_interval=600.0,
        worker_timeout=2000.0,
    )
    heartbeat = worker.parts.heartbeat
    asked_at = time.monotonic()
    heartbeat.hurry()
    wait_until(lambda: heartbeat.acked_at >= asked_at)
    wait_until(lambda: heartbeat.leases_acked_at[0] >= asked_at)


@pytest.mark.topologies("valkey")
def test_a_failure_of_the_thread_is_logged_and_survived(serve: Serve, caplog: Any) -> None:
    worker = serve(Sleeps, beat_interval=0.1)
    heartbeat = worker.parts.heartbeat
    heartbeat._details, details = None, heartbeat._details
    wait_until(lambda: "heartbeat failed; it goes on" in caplog.text)
    heartbeat._details = details
    now = time.monotonic()
    wait_until(lambda: heartbeat.acked_at > now)


@pytest.mark.topologies("valkey")
def test_starting_and_stopping_the_thread_twice_is_harmless(serve: Serve) -> None:
    worker = serve(Sleeps)
    heartbeat = worker.parts.heartbeat
    heartbeat.start()
    assert worker.stop() == 0
    heartbeat.stop()
    assert heartbeat.join(PATIENCE)
