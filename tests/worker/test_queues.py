"""Several queues: in which order, of this machine, and held back."""

from collections import Counter
from typing import Any

import gevent
import pytest

from pytask import LOCAL, Task
from pytask.store import Store
from pytask.worker import promoter
from tests.support.waiting import wait_until
from tests.worker.conftest import Serve
from tests.worker.works import nothing_happened, release, started

__all__ = ["nothing_happened"]  # a fixture


class Note(Task):
    NAME = "note"

    def __init__(self, name: str = "", holds: bool = False) -> None:
        self.name, self.holds = name, holds

    def start(self) -> None:
        started.append(self.name)
        if self.holds:
            release.wait()


@pytest.mark.topologies("valkey")
def test_the_first_queue_is_served_first(serve: Serve) -> None:
    worker = serve(Note, concurrency=1, queues=("urgent", "default"))
    worker.start("note", name="holds", holds=True)
    wait_until(lambda: started == ["holds"])
    for number in range(5):
        worker.helpers.submit("note", {"name": f"default{number}"})
        worker.helpers.submit("note", {"name": f"urgent{number}"}, queue="urgent")
    release.set()
    wait_until(lambda: len(started) == 11)
    assert [name[:-1] for name in started[1:]] == ["urgent"] * 5 + ["default"] * 5


@pytest.mark.topologies("valkey")
def test_weighted_queues_share_the_slots_and_none_starves(serve: Serve) -> None:
    worker = serve(Note, concurrency=1, queues={"much": 4, "little": 1})
    worker.helpers.submit("note", {"name": "holds", "holds": True}, queue="much")
    wait_until(lambda: started == ["holds"])
    worker.helpers.start_tasks(
        {"task": "note", "data": {"name": queue}, "queue": queue}
        for queue in ("much", "little")
        for _ in range(300)
    )
    release.set()
    wait_until(lambda: len(started) > 200)
    share = Counter(started[1:201])
    # 160 to 40 on average; the limits are six standard deviations away.
    assert 125 < share["much"] < 195
    assert worker.helpers.queues()["much"].consumers == [worker.app.worker_id]


def test_each_worker_serves_the_queue_of_its_node(serve: Serve) -> None:
    # Whoever waits for one of these is waited for in vain.
    here = serve(Note, node="here", block_seconds=600.0)
    serve(Note, node="there", block_seconds=600.0)
    wait_until(lambda: all(one.idle.is_set() for one in here.parts.claimers))

    for number in range(10):
        here.helpers.submit("note", {"name": f"{number}"}, queue=LOCAL)
    wait_until(lambda: len(started) == 10)

    ended = here.helpers.get_end_task_ids()
    wait_until(lambda: len(here.helpers.get_end_task_ids()) == 10)
    assert {here.helpers.get_task(one, "queue") for one in ended} <= {"node.here"}
    queue = here.helpers.queues()["node.here"]
    assert (queue.waiting, queue.consumers) == (0, [here.app.worker_id])


@pytest.mark.topologies("valkey")
def test_a_task_for_a_node_without_a_worker_waits_and_is_seen(serve: Serve) -> None:
    worker = serve(Note, node="here")
    task_id = worker.helpers.submit("note", queue="node.elsewhere").id
    queue = worker.helpers.queues()["node.elsewhere"]
    assert (queue.waiting, queue.consumers, queue.paused) == (1, [], False)
    assert "node.elsewhere" not in worker.helpers.queues(scan=False)
    assert worker.record(task_id)["state"] == "WAIT"


def test_a_paused_queue_is_left_alone_and_starts_at_once_when_resumed(serve: Serve) -> None:
    worker = serve(Note, queues=("mail", "default"), block_seconds=600.0)
    helpers = worker.helpers
    assert helpers.pause_queue("mail") and not helpers.pause_queue("mail")
    ids = [helpers.submit("note", {"name": "mail"}, queue="mail").id for _ in range(20)]
    for number in range(20):
        worker.start("note", name=f"default{number}")
    wait_until(lambda: len(started) == 20)
    # A waiter may have popped one for each partition before its claimer learnt of the pause.
    wait_until(lambda: helpers.queue_size("mail") == 20)
    assert "mail" not in started
    assert {helpers.get_task(one, "state") for one in ids} == {"WAIT"}
    assert helpers.queues()["mail"].paused

    assert helpers.resume_queue("mail") and not helpers.resume_queue("mail")

    wait_until(lambda: started.count("mail") == 20)


@pytest.mark.topologies("valkey")
def test_nobody_spins_on_a_paused_queue(serve: Serve, monkeypatch: Any) -> None:
    waits: list[Any] = []
    wait_for_task = Store.wait_for_task

    def counted(self: Store, *args: Any) -> bool:
        waits.append(args)
        return wait_for_task(self, *args)

    monkeypatch.setattr(Store, "wait_for_task", counted)
    worker = serve(Note, queues=("mail",), block_seconds=600.0)
    worker.helpers.pause_queue("mail")
    for _ in range(50):
        worker.helpers.submit("note", queue="mail")
    (claimer,) = worker.parts.claimers
    wait_until(lambda: not claimer._open["mail"].is_set() and claimer.idle.is_set())
    wait_until(lambda: worker.helpers.queue_size("mail") == 50)
    before = len(waits)
    gevent.sleep(0.3)
    assert len(waits) == before
    assert worker.helpers.queue_size("mail") == 50


def test_a_task_with_a_short_delay_does_not_wait_for_the_next_look(
    serve: Serve, monkeypatch: Any
) -> None:
    # Whoever waits for one of these is waited for in vain.
    monkeypatch.setattr(promoter, "LONGEST", 600.0)
    worker = serve(Note, block_seconds=600.0)
    wait_until(lambda: all(one._resting for one in worker.parts.promoters))
    worker.helpers.submit("note", {"name": "later"}, delay=3600)
    for number in range(5):
        worker.helpers.submit("note", {"name": f"{number}"}, delay=0.05)
        wait_until(lambda number=number: len(started) == number + 1)


def test_a_flushed_queue_is_empty_and_who_waits_learns_it(serve: Serve) -> None:
    from pytask import TaskNotFound

    worker = serve(Note, queues=("default",))
    helpers = worker.helpers
    futures = [helpers.submit("note", queue="later", watch=True) for _ in range(3)]
    waiting = [gevent.spawn(future.wait, 60) for future in futures]
    gevent.sleep(0.05)

    assert helpers.flush_queue("later") == 3

    gevent.joinall(waiting, timeout=60)
    assert {type(one.exception) for one in waiting} == {TaskNotFound}
    assert helpers.queue_size("later") == 0
