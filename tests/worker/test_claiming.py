"""What is taken off the queues, and what is not."""

import time
from functools import partial
from typing import Any

import gevent
import pytest

from pytask import Task
from pytask.records import new_request_id
from pytask.worker.runs import Slots
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import LiveWorker, Serve
from tests.worker.works import nothing_happened, release, started

__all__ = ["nothing_happened"]  # a fixture


class Holds(Task):
    NAME = "holds"

    def __init__(self, name: str = "") -> None:
        self.name = name

    def start(self) -> None:
        started.append(self.name)
        release.wait()


class Quick(Task):
    NAME = "quick"

    def start(self) -> int:
        return self.attempt


def wait_for_all_slots(worker: LiveWorker) -> None:
    """Those of runs come back with the answer to their end."""
    wait_until(lambda: worker.free_slots == 1000)


def test_many_tasks_all_end(serve: Serve) -> None:
    worker = serve(Quick)
    ids = worker.helpers.start_tasks([("quick", {})] * 1000)
    wait_until(lambda: len(worker.helpers.get_end_task_ids()) == 1000, 60)
    assert sorted(ids) == sorted(worker.helpers.get_end_task_ids())
    # Redis knows of an end before the worker hears that it does.
    wait_until(lambda: worker.app.running == 0)
    wait_for_all_slots(worker)


def test_no_more_tasks_run_than_there_are_slots(serve: Serve) -> None:
    worker = serve(Holds, concurrency=3)
    worker.helpers.start_tasks([("holds", {})] * 8)
    wait_until(lambda: len(started) == 3)
    gevent.sleep(0.2)
    assert len(started) == 3 and worker.app.running == 3
    assert len(worker.helpers.get_new_task_ids()) == 5
    release.set()
    wait_until(lambda: len(started) == 8)


@pytest.mark.topologies("cluster")
def test_fewer_slots_than_partitions_serve_all_partitions(serve: Serve) -> None:
    worker = serve(Quick, concurrency=1)
    worker.helpers.start_tasks([("quick", {})] * 40)
    wait_until(lambda: len(worker.helpers.get_end_task_ids()) == 40)


def test_what_arrives_when_no_slot_is_free_stays_for_others(serve: Serve, dump: Any) -> None:
    full = serve(Holds, concurrency=1)
    full.start("holds")
    wait_until(lambda: len(started) == 1)
    ids = [full.start("holds") for _ in range(6)]
    other = serve(Holds, concurrency=10)
    wait_until(lambda: len(started) == 7)
    assert {run.task_id for run in other.parts.table.snapshot()} == set(ids)
    wait_until(lambda: not [key for key in dump() if ":claim:" in key])


def test_a_task_is_started_while_the_worker_is_idle(serve: Serve) -> None:
    worker = serve(Quick, block_seconds=600)
    for _ in range(5):
        assert worker.run_task("quick") == ("SUCCESS", 1)  # not found by the next look


def test_a_record_that_comes_after_its_id_is_waited_for(serve: Serve, raw: Any, keys: Any) -> None:
    worker = serve(Quick, missing_grace=60)
    raw.lpush(keys.of("late").new_queue(), "late")
    gevent.sleep(0.1)
    raw.hset(keys.of("late").record("late"), mapping={"task": "quick", "data": "{}"})
    assert worker.wait_for("late", "SUCCESS") == 1


def test_an_id_without_a_record_is_dropped_with_one_log_line(
    serve: Serve, raw: Any, keys: Any, caplog: Any, dump: Any
) -> None:
    worker = serve(Quick, missing_grace=0.2)
    raw.lpush(keys.of("ghost").new_queue(), "ghost")
    wait_until(lambda: "ghost" in caplog.text)
    assert worker.run_task("quick") == ("SUCCESS", 1)
    assert caplog.text.count("ID ghost on the queue has no record") == 1
    assert not [key for key in dump() if "ghost" in key or "missing" in key]


def test_a_key_of_another_type_is_left_alone(
    serve: Serve, raw: Any, keys: Any, caplog: Any
) -> None:
    worker = serve(Quick)
    raw.set(keys.of("odd").record("odd"), "a string")
    raw.lpush(keys.of("odd").new_queue(), "odd")
    wait_until(lambda: "the key of task odd is not a hash" in caplog.text)
    assert raw.get(keys.of("odd").record("odd")) == "a string"
    assert worker.run_task("quick") == ("SUCCESS", 1)
    assert worker.helpers.get_new_task_ids() == []


@pytest.mark.topologies("valkey")
def test_a_queue_of_another_type_is_reported_and_survived(
    serve: Serve, raw: Any, namespace: Any, caplog: Any
) -> None:
    worker = serve(Quick, block_seconds=0.3)
    raw.set(namespace.new_queue, "not a list")
    wait_until(lambda: "it tries again until this is put right" in caplog.text)
    raw.delete(namespace.new_queue)
    assert worker.run_task("quick") == ("SUCCESS", 1)


@pytest.mark.topologies("valkey")
def test_duplicates_run_once(serve: Serve, raw: Any, namespace: Any) -> None:
    raw.hset(f"{namespace.task_prefix}x", mapping={"task": "holds", "data": "{}"})
    raw.lpush(namespace.new_queue, *["x"] * 50)
    worker = serve(Holds)
    wait_until(lambda: started)
    raw.lpush(namespace.new_queue, "x")
    wait_until(lambda: not worker.helpers.get_new_task_ids())
    release.set()
    worker.wait_for("x", "SUCCESS")
    assert len(started) == 1


@pytest.mark.topologies("valkey")
def test_named_queues_are_served_in_their_order(serve: Serve) -> None:
    worker = serve(Holds, concurrency=1, queues=("urgent", "default"))
    worker.start("holds", name="first")
    wait_until(lambda: started == ["first"])
    for queue in ("default", "urgent") * 3:
        worker.helpers.submit("holds", {"name": queue}, queue=queue)
    release.set()
    wait_until(lambda: len(started) == 7)
    assert started[1:] == ["urgent"] * 3 + ["default"] * 3


@pytest.mark.topologies("valkey")
def test_a_queue_that_is_not_ours_is_left_alone(serve: Serve) -> None:
    worker = serve(Quick, queues=("mine",))
    other = worker.helpers.submit("quick", {}, queue="other")
    mine = worker.helpers.submit("quick", {}, queue="mine")
    worker.wait_for(mine.id, "SUCCESS")
    assert worker.record(other.id)["state"] == "WAIT"


def test_a_delayed_task_starts_when_it_is_due(serve: Serve) -> None:
    worker = serve(Quick)
    began_at = time.monotonic()
    future = worker.helpers.submit("quick", {}, delay=0.5)
    assert worker.wait_for(future.id, "SUCCESS") == 1
    assert time.monotonic() - began_at >= 0.5


@pytest.mark.topologies("valkey")
def test_a_claim_whose_reply_is_lost_strands_nothing(
    valkey_server: Any, proxy: Any, serve: Serve
) -> None:
    relay = proxy(valkey_server)
    worker = serve(Quick, at=relay.url, concurrency=20)
    relay.cut_on_reply(times=6, request=b"EVALSHA")
    worker.helpers.start_tasks([("quick", {})] * 50)
    wait_until(lambda: len(worker.helpers.get_end_task_ids()) == 50)
    wait_until(lambda: worker.app.running == 0)
    records = [worker.record(task_id) for task_id in worker.helpers.get_end_task_ids()]
    assert {record["attempts"] for record in records} == {"1"}


@pytest.mark.topologies("valkey")
def test_connections_that_are_cut_all_the_time_strand_nothing(
    valkey_server: Any, proxy: Any, serve: Serve
) -> None:
    relay = proxy(valkey_server)
    worker = serve(Quick, at=relay.url, concurrency=5, block_seconds=0.5)
    direct = serve(Quick, queues=("none",))
    for _ in range(30):
        direct.start("quick")
        relay.disconnect()
        gevent.sleep(0.02)
    wait_until(lambda: len(direct.helpers.get_end_task_ids()) == 30)
    wait_until(lambda: worker.app.running == 0)


@pytest.mark.topologies("valkey")
def test_an_id_that_is_taken_again_while_its_old_run_stops_waits_for_that(
    serve: Serve, raw: Any, namespace: Any
) -> None:
    class SlowToEnd(Task):
        NAME = "slow-to-end"

        def start(self) -> None:
            started.append("start")
            try:
                release.wait()
            finally:
                gevent.sleep(0.3)
                started.append("end")

    worker = serve(SlowToEnd)
    task_id = worker.start("slow-to-end")
    wait_until(lambda: started == ["start"])
    record = f"{namespace.task_prefix}{task_id}"
    raw.hset(record, "state", "WAIT")
    raw.hdel(record, "run")
    raw.lpush(namespace.new_queue, task_id)
    wait_until(lambda: len(started) == 3)
    assert started == ["start", "end", "start"]
    release.set()
    worker.wait_for(task_id, "SUCCESS")


def lone_claimer(worker: LiveWorker) -> Any:
    (claimer,) = worker.parts.claimers
    return claimer


def is_idle(claimer: Any) -> bool:
    return claimer.idle.is_set() and not claimer._signal.is_set()


def end_claiming(worker: LiveWorker) -> None:
    """End waiters and claimers while no claim is under way, with slots reserved."""
    for waiter in worker.parts.waiters:
        waiter.kill()
        waiter.join()
    for claimer in worker.parts.claimers:
        # A wait that is cut short makes it look once more.
        wait_until(partial(is_idle, claimer))
        claimer.kill()
        claimer.join()


@pytest.mark.topologies("valkey")
def test_what_a_waiter_moved_into_a_full_worker_goes_back_at_once(
    serve: Serve, raw: Any, namespace: Any
) -> None:
    worker = serve(Holds, concurrency=1)
    worker.start("holds")
    wait_until(lambda: len(started) == 1)
    claimer = lone_claimer(worker)
    wait_until(lambda: claimer._starved)
    own = f"{namespace.new_queue}:claim:{worker.app.worker_id}"
    raw.hset(f"{namespace.task_prefix}y", mapping={"task": "holds", "data": "{}"})
    raw.lpush(own, "y")
    claimer.moved()
    assert raw.lrange(own, 0, -1) == []
    assert raw.lrange(namespace.new_queue, 0, -1) == ["y"]


def test_slots_are_handed_out_once() -> None:
    slots = Slots(3)
    assert slots.reserve(2) == 2
    assert slots.reserve_now(5) == 1
    assert slots.reserve_now(1) == 0
    waiting = [gevent.spawn(slots.reserve, 1) for _ in range(2)]
    gevent.sleep(0)
    slots.release(1)
    gevent.wait(waiting, count=1, timeout=PATIENCE)
    assert [one.ready() for one in waiting] == [True, False]
    slots.release(1)
    gevent.joinall(waiting, timeout=PATIENCE)
    assert slots.free == 0


@pytest.mark.topologies("valkey")
def test_a_claim_that_is_answered_late_refreshes_its_leases_first(serve: Serve) -> None:
    worker = serve(Quick)
    claimer = lone_claimer(worker)
    end_claiming(worker)
    task_id = worker.start("quick")
    reserved = worker.parts.table.slots.reserve_now(5)
    claimer._stopping = False
    claimer._claimant._pending = (new_request_id(), reserved, time.monotonic() - 60)
    assert [task.task_id for task in claimer._claimant.claim().claimed] == [task_id]
    worker.wait_for(task_id, "SUCCESS")
    wait_for_all_slots(worker)


@pytest.mark.topologies("valkey")
def test_what_a_last_claim_got_is_given_back_unstarted(serve: Serve) -> None:
    worker = serve(Holds)
    claimer = lone_claimer(worker)
    end_claiming(worker)
    task_id = worker.start("holds")
    claimer._claimant._pending = (new_request_id(), 1, time.monotonic())
    worker.parts.table.slots.reserve_now(1)
    claimer.settle()
    claimer.settle()
    wait_until(lambda: worker.record(task_id)["state"] == "WAIT")
    assert started == []
    wait_for_all_slots(worker)


@pytest.mark.topologies("valkey")
def test_a_worker_that_ends_gives_back_what_its_claim_list_holds(
    serve: Serve, raw: Any, namespace: Any, dump: Any
) -> None:
    worker = serve(Quick, queues=("default", "mail"))
    end_claiming(worker)
    # With a record: a claim that was under way when we killed it may get the task as well.
    queue = f"{namespace.new_queue}:mail"
    worker.helpers.submit("quick", queue="mail", task_id="m")
    raw.lmove(queue, f"{queue}:claim:{worker.app.worker_id}", "RIGHT", "LEFT")
    assert worker.stop() == 0
    assert raw.lrange(queue, 0, -1) == ["m"]
    assert not [key for key in dump() if ":claim" in key]
