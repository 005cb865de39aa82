"""adopt: WAIT or RETRY in no list -> its queue; ended -> end queue; the rest -> task set."""

import pytest

from pytask.states import READY, Code, State


@pytest.mark.parametrize("state", ["WAIT", "RETRY"])
@pytest.mark.parametrize("queue", ["default", "mail"])
def test_a_waiting_orphan_returns_to_its_queue(lab, state, queue):
    task_id = lab.waiting(queue=queue)
    lab.put(task_id, state=state)
    lab.call("DEL", lab.names.new_queue(queue))

    assert lab.store.adopt(task_id) is Code.OK

    assert lab.queue(queue) == [task_id]
    assert lab.store.adopt(task_id) is Code.WRONG_STATE
    assert [run.task_id for run in lab.claim(queues=[queue]).claimed] == [task_id]


@pytest.mark.parametrize("state", ["RUNNING", "STOPPED"])
def test_a_running_or_stopped_orphan_returns_to_the_task_set(lab, state):
    run = lab.running()
    lab.put(run.task_id, state=state)
    lab.call("DEL", lab.names.tasks)
    assert lab.store.adopt(run.task_id) is Code.OK
    assert lab.active() == {run.task_id}


@pytest.mark.parametrize("state", sorted(READY - {State.STOPPED}))
def test_an_ended_orphan_returns_to_the_end_queue(lab, state):
    task_id = lab.ended(state)
    lab.call("DEL", lab.names.end_queue)
    lab.call("HDEL", lab.names.record(task_id), "end_entry")
    assert lab.store.adopt(task_id) is Code.OK
    assert lab.end_queue() == [task_id]
    assert lab.record(task_id)["end_entry"] == "1"


def test_an_ended_orphan_without_cleanup_returns_to_the_task_set(lab):
    task_id = lab.ended(cleanup=False)
    lab.call("DEL", lab.names.tasks)
    assert lab.store.adopt(task_id) is Code.OK
    assert lab.active() == {task_id}
    assert lab.end_queue() == []


def test_a_look_writes_nothing(lab):
    ids = [lab.waiting(), lab.running().task_id, lab.ended(), lab.ended(cleanup=False)]
    for key in (lab.names.new_queue(), lab.names.tasks, lab.names.end_queue):
        lab.call("DEL", key)
    before = lab.snapshot()
    assert {lab.store.adopt(task_id, only_look=True) for task_id in ids} == {Code.OK}
    assert lab.snapshot() == before


def test_tasks_that_are_where_they_belong_are_left_alone(lab):
    failed = lab.ended(State.ERROR)
    ended = lab.store.take_ended(lab.partition, "w")
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    taken = lab.ended()
    lab.store.take_ended(lab.partition, "w")
    healthy = [
        failed,
        taken,
        lab.ended(),
        lab.ended(cleanup=False),
        lab.stopped(),
        lab.running().task_id,
        lab.waiting(),
        lab.waiting(delay=60.0),
        lab.waiting(queue="mail"),
    ]
    before = lab.snapshot()
    assert {lab.store.adopt(task_id) for task_id in healthy} == {Code.WRONG_STATE}
    assert lab.snapshot() == before


def test_an_entry_that_vanished_after_a_stop_is_not_waited_for(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.call("DEL", lab.names.new_queue())
    lab.store.restart(task_id)
    assert lab.queue() == []
    assert lab.store.adopt(task_id) is Code.OK
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_the_mark_of_a_vanished_entry_does_not_void_the_new_one(lab):
    task_id = lab.waiting()
    lab.put(task_id, unqueue="default mail")
    lab.call("DEL", lab.names.new_queue())
    assert lab.store.adopt(task_id) is Code.OK
    assert lab.record(task_id)["unqueue"] == "mail"
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_a_second_entry_beside_a_claim_list_does_no_harm(lab):
    task_id = lab.waiting()
    lab.store.wait_for_task(lab.partition, "default", "w", 1)
    lab.store.adopt(task_id)
    assert [run.task_id for run in lab.claim(worker="w").claimed] == [task_id]
    assert lab.claim(worker="w2").claimed == []
    assert lab.queue() == []


def test_missing_and_foreign_records_are_left_alone(lab):
    foreign = lab.id()
    lab.foreign(lab.names.record(foreign), b"list")
    before = lab.snapshot()
    assert lab.store.adopt(lab.id()) is Code.MISSING
    assert lab.store.adopt(foreign) is Code.BAD_TYPE
    assert lab.snapshot() == before


def test_a_record_without_a_state_may_still_be_in_somebodys_hands(lab):
    task_id = lab.put(lab.id(), task="x")
    assert lab.store.adopt(task_id) is Code.MISSING
    assert lab.queue() == []


def test_of_many_who_adopt_one_does(lab):
    task_id = lab.waiting()
    lab.call("DEL", lab.names.new_queue())
    codes = lab.race([lambda: lab.store.adopt(task_id)] * 20)
    assert sorted(codes) == [Code.WRONG_STATE] * 19 + [Code.OK]
    assert lab.queue() == [task_id]


def test_a_repeat_has_one_effect(lab):
    task_id = lab.ended()
    lab.call("DEL", lab.names.end_queue)
    store, tap = lab.repeating()
    assert store.adopt(task_id) is Code.WRONG_STATE
    assert tap.first == 1
    assert lab.end_queue() == [task_id]


def test_foreign_values_under_our_keys_change_nothing(lab):
    task_id = lab.waiting(queue="mail")
    names = lab.names
    keys = {
        names.new_queue("mail"): b"list",
        names.delayed: b"zset",
        names.end_queue: b"list",
        names.tasks: b"set",
        names.failed: b"zset",
    }
    lab.check_wrong_types(lambda: lab.store.adopt(task_id), keys)
