"""What signals do to a worker."""

import signal
from typing import Any

import pytest

from tests.support.launch import CLEANUP, MONITOR, Launch
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey", "cluster")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_requeues_running_tasks_as_wait_and_ends_with_status_0(
    launch: Launch, helpers: Any, number: int
) -> None:
    # Whoever waits for one of these is waited for in vain.
    worker = launch(MONITOR, CLEANUP, stop_timeout=600.0, block_seconds=600.0)
    ids = helpers.start_tasks([("sleeper", {})] * 5)
    worker.wait_for_event("started", count=5)
    worker.signal(number)
    assert worker.wait() == 0
    assert len([one for one in worker.events if one["event"] == "ended"]) == 5
    assert "returned" in [one["event"] for one in worker.events]
    assert sorted(helpers.get_new_task_ids()) == sorted(ids)
    assert {helpers.get_task(one)["state"] for one in ids} == {"WAIT"}
    assert helpers.get_active_task_ids() == []
    assert "Traceback" not in worker.output


def test_what_is_requeued_is_taken_by_another_worker(launch: Launch, helpers: Any) -> None:
    first = launch()
    (task_id,) = helpers.start_tasks([("sleeper", {})])
    first.wait_for_event("started")
    second = launch()
    assert first.stop() == 0
    second.wait_for_event("started", id=task_id, attempt=2)


@pytest.mark.topologies("valkey")
def test_a_second_signal_requeues_at_once(launch: Launch, helpers: Any) -> None:
    worker = launch(stop_timeout=600.0, drain_timeout=600.0)
    (task_id,) = helpers.start_tasks([("slow-to-stop", {})])
    worker.wait_for_event("started")
    worker.signal(signal.SIGTERM)
    worker.wait_for_line("SIGTERM: no more tasks are taken")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert helpers.get_task(task_id)["state"] == "WAIT"


@pytest.mark.topologies("valkey")
def test_a_second_signal_ends_a_stop_that_hangs(launch: Launch, helpers: Any) -> None:
    worker = launch(stop_timeout=600.0)
    (task_id,) = helpers.start_tasks([("slow-to-stop", {})])
    worker.wait_for_event("started")
    worker.signal(signal.SIGINT)
    worker.wait_for_event("stopping")
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0
    assert helpers.get_task(task_id)["state"] == "WAIT"


@pytest.mark.topologies("valkey")
def test_drain_timeout_lets_tasks_end_first(launch: Launch, helpers: Any) -> None:
    worker = launch(drain_timeout=600.0)
    (task_id,) = helpers.start_tasks([("sleeper", {"seconds": 1})])
    worker.wait_for_event("started")
    worker.signal(signal.SIGTERM)
    worker.wait_for_line("no more tasks are taken")
    (late,) = helpers.start_tasks([("sleeper", {})])
    assert worker.wait() == 0
    assert helpers.get_task(task_id)["state"] == "SUCCESS"
    assert helpers.get_task(late)["state"] == "WAIT"


@pytest.mark.topologies("valkey")
def test_sigusr1_prints_the_stack_of_every_greenlet(launch: Launch, helpers: Any) -> None:
    worker = launch()
    helpers.start_tasks([("sleeper", {"seconds": 0})] * 50)
    worker.wait_for_event("ended", count=50)
    (task_id,) = helpers.start_tasks([("sleeper", {})])
    worker.wait_for_event("started", id=task_id)
    worker.signal(signal.SIGUSR1)
    worker.wait_for_line("sleep_where_this_can_be_found")
    worker.wait_for_line("pytask-claimer")
    helpers.stop_task(task_id)
    worker.wait_for_event("ended", id=task_id)
    assert worker.stop() == 0
    # Greenlets that wait for a task would bury the others.
    assert "run = hub.switch()" not in worker.output


@pytest.mark.topologies("valkey")
def test_a_signal_ends_a_worker_that_waits_for_redis(launch: Launch, proxy: Any) -> None:
    worker = launch(at="redis://127.0.0.1:1/0", wait=False)
    worker.wait_for_line("cannot be reached")
    assert worker.stop() == 0


@pytest.mark.topologies("valkey")
def test_a_signal_during_an_outage_ends_with_status_1_and_says_what_is_left(
    valkey_server: Any, proxy: Any, launch: Launch, helpers: Any
) -> None:
    relay = proxy(valkey_server)
    worker = launch(at=relay.url, stop_timeout=1.0)
    (task_id,) = helpers.start_tasks([("sleeper", {})])
    worker.wait_for_event("started")
    relay.black_hole()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 1
    worker.wait_for_line("Redis did not take the end of 1 tasks; .* Monitor of another worker")
    # Another worker looks after it.
    other = launch(MONITOR)
    other.wait_for_event("started", id=task_id, attempt=2)


@pytest.mark.topologies("valkey")
def test_a_signal_reaches_a_worker_whose_hub_was_busy(launch: Launch, helpers: Any) -> None:
    worker = launch()
    helpers.start_tasks([("computes", {"seconds": 1.5})])
    worker.wait_for_event("computing")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    wait_until(lambda: "computed" in [one["event"] for one in worker.events])
