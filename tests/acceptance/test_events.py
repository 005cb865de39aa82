"""Whoever listens hears what becomes of tasks and workers, also of those that are killed."""

import queue
from typing import Any

import pytest

from pytask import Notice
from tests.support.launch import MONITOR, STEADY, Launch
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.topologies("valkey", "cluster")


def test_a_listener_hears_how_a_task_outlives_its_worker(launch: Launch, helpers: Any) -> None:
    of_tasks: queue.Queue[Notice] = queue.Queue()
    of_workers: queue.Queue[Notice] = queue.Queue()
    names = "queued|started|requeued|retry|done"

    def on_task(channel: str, event: str, notice: Notice) -> None:
        if notice.task == "sleeper":
            of_tasks.put(notice)

    def on_worker(channel: str, event: str, notice: Notice) -> None:
        of_workers.put(notice)

    helpers.on_events("task", names, on_task)
    helpers.on_events("worker", "up|down", on_worker)

    victim = launch(**STEADY)
    lost = of_workers.get(timeout=PATIENCE)
    assert lost.event == "up"
    task_id = helpers.start_task("sleeper", seconds=0, first=600)
    victim.wait_for_event("started", id=task_id)
    other = launch(MONITOR, **STEADY)
    left = of_workers.get(timeout=PATIENCE)
    assert left.event == "up" and left.id != lost.id
    victim.kill()

    heard = [of_tasks.get(timeout=PATIENCE) for _ in range(5)]
    assert [one.event for one in heard] == ["queued", "started", "requeued", "started", "success"]
    assert {one.id for one in heard} == {task_id}
    assert [one.data for one in heard if one.event == "started"] == [{"attempt": 1}, {"attempt": 2}]
    assert (heard[-1].state, heard[-1].output) == ("SUCCESS", other.pid)

    gone = of_workers.get(timeout=PATIENCE)
    assert (gone.event, gone.id) == ("down", lost.id)
    assert other.stop() == 0
    gone = of_workers.get(timeout=PATIENCE)
    assert (gone.event, gone.id) == ("down", left.id)
    helpers.remove_event_callback("task", names, on_task)
    helpers.remove_event_callback("worker", "up|down", on_worker)
