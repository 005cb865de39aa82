"""pause: hold a queue back."""

import pytest

from pytask.states import Code


def test_pausing_twice_is_pausing_once(lab):
    assert lab.store.pause("mail") is Code.OK
    assert lab.store.pause("mail") is Code.ALREADY
    store, tap = lab.repeating()
    assert store.pause("default") is Code.ALREADY
    assert tap.first == 1
    assert lab.store.list_paused() == {"mail", "default"}


def test_delayed_tasks_become_due_and_wait(lab):
    task_id = lab.waiting(delay=60.0)
    lab.store.pause("default")
    lab.make_due()
    assert lab.store.promote(lab.partition).moved == 1
    assert lab.claim().claimed == []
    assert lab.queue() == [task_id]


def test_a_run_ends_in_a_paused_queue_and_another_comes_back_to_it(lab):
    one, other = lab.running(), lab.running()
    lab.store.pause("default")
    assert lab.finish(one) is Code.OK
    assert lab.store.requeue(lab.partition, [(other.task_id, other.token)]) == [Code.OK]
    assert lab.claim().claimed == []
    assert lab.queue() == [other.task_id]


def test_the_claim_lists_of_a_dead_worker_go_back_to_a_paused_queue(lab):
    task_id = lab.waiting(queue="mail")
    lab.store.wait_for_task(lab.partition, "mail", "dead", 1)
    lab.store.pause("mail")
    assert lab.store.give_back(lab.partition, worker="dead", queues=["mail"], forget=True) == 1
    assert lab.queue("mail") == [task_id]
    assert lab.claim(queues=["mail"]).claimed == []


def test_a_task_of_a_paused_queue_is_no_orphan(lab):
    task_id = lab.waiting()
    lab.store.pause("default")
    before = lab.snapshot()
    assert lab.store.adopt(task_id) is Code.WRONG_STATE
    assert lab.store.sweep(lab.partition).mended == []
    assert lab.snapshot() == before


@pytest.mark.topologies("valkey", "redis")
def test_a_foreign_key_stops_it(lab):
    lab.store.pause("mail")
    lab.check_wrong_types(lambda: lab.store.pause("mail"), {lab.names.paused: b"set"})
