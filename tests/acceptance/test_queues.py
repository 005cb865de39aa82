"""Queues as an operator uses them, with workers as processes."""

import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pytask import LOCAL, TaskNotFound
from tests.support.launch import CLEANUP, MONITOR, Launch
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey", "cluster")

#: Whoever waits for one of these is waited for in vain.
PATIENT = {"block_seconds": 600.0}


def test_a_paused_queue_keeps_its_tasks_while_workers_die(launch: Launch, helpers: Any) -> None:
    options = {"queues": ["mail", "default"], "worker_timeout": 2.0, "redis_grace": 1.0}
    first = launch(MONITOR, CLEANUP, **options)
    running = helpers.submit("sleeper", queue="mail").id
    first.wait_for_event("started", id=running)
    assert helpers.pause_queue("mail")
    ids = [helpers.submit("sleeper", {"seconds": 0}, queue="mail").id for _ in range(20)]
    first.signal(signal.SIGKILL)
    second = launch(MONITOR, CLEANUP, **options)
    # What ran there comes back to its queue, and waits with the others.
    wait_until(lambda: helpers.get_task(running, "state") == "WAIT", 60)
    wait_until(lambda: helpers.queue_size("mail") == 21, 60)
    other = helpers.submit("sleeper", {"seconds": 0}).id
    second.wait_for_event("started", id=other)
    started = {one["id"] for one in second.events if one["event"] == "started"}
    assert not started & {running, *ids}

    assert helpers.resume_queue("mail")

    for task_id in (running, *ids):
        second.wait_for_event("started", id=task_id)
    assert helpers.queues()["mail"].waiting == 0


def test_a_flushed_queue_is_empty_and_what_runs_goes_on(launch: Launch, helpers: Any) -> None:
    worker = launch(CLEANUP, queues=["mail"], concurrency=1)
    running = helpers.submit("sleeper", queue="mail").id
    worker.wait_for_event("started", id=running)
    futures = [helpers.submit("sleeper", queue="mail", watch=True) for _ in range(5)]

    # What a worker without a free slot has popped it gives back.
    wait_until(lambda: helpers.queue_size("mail") == 5)
    assert helpers.flush_queue("mail") == 5

    for future in futures:
        with pytest.raises(TaskNotFound):
            future.wait(timeout=60)
    assert helpers.get_task(running, "state") == "RUNNING"
    assert helpers.stop_task(running)
    worker.wait_for_event("ended", id=running)


def test_a_task_for_this_machine_runs_on_it(launch: Launch, helpers: Any) -> None:
    launch(node="there", **PATIENT)
    here = launch(**PATIENT)
    ids = [helpers.submit("sleeper", {"seconds": 0}, queue=LOCAL).id for _ in range(10)]
    for task_id in ids:
        here.wait_for_event("started", id=task_id)
    gone = helpers.submit("sleeper", queue="node.gone", expires=3600).id
    queue = helpers.queues()["node.gone"]
    assert (queue.waiting, queue.consumers) == (1, [])
    assert helpers.get_task(gone, "state") == "WAIT"


def test_a_task_starts_at_its_time(launch: Launch, helpers: Any) -> None:
    worker = launch()
    now = datetime.now(UTC)
    later = helpers.submit("sleeper", {"seconds": 0}, at=now + timedelta(hours=1)).id
    soon = helpers.submit("sleeper", {"seconds": 0}, at=now.timestamp() + 0.3).id
    past = helpers.submit("sleeper", {"seconds": 0}, at=now - timedelta(days=1)).id
    worker.wait_for_event("started", id=past)
    worker.wait_for_event("started", id=soon)
    assert helpers.get_task(later, "state") == "WAIT"


@pytest.mark.topologies("valkey")
def test_weights_are_given_to_a_worker_as_a_mapping(launch: Launch, helpers: Any) -> None:
    worker = launch(queues={"much": 3, "little": 1})
    for queue in ("much", "little"):
        worker.wait_for_event(
            "started", id=helpers.submit("sleeper", {"seconds": 0}, queue=queue).id
        )
    assert set(helpers.queues()) >= {"much", "little"}
