"""stop: WAIT, RETRY -> STOPPED; RUNNING: tell the owner."""

import pytest

from pytask.states import Code, State


def test_a_waiting_task_is_stopped_and_its_entry_is_void(lab):
    task_id = lab.waiting()

    assert lab.store.stop(task_id) is Code.OK

    record = lab.record(task_id)
    assert (record["state"], record["unqueue"]) == ("STOPPED", "default")
    assert lab.active() == {task_id}
    assert lab.claim().claimed == []
    assert lab.queue() == []


def test_a_task_of_a_named_queue_is_stopped_there(lab):
    task_id = lab.waiting(queue="mail")
    lab.store.stop(task_id)
    assert lab.record(task_id)["unqueue"] == "mail"
    assert lab.claim(queues=["mail"]).claimed == []


@pytest.mark.parametrize("state", ["", None])
def test_a_hand_made_task_without_a_state_is_stopped(lab, state):
    task_id = lab.put(lab.id(), task="x", data="{}")
    if state is not None:
        lab.put(task_id, state=state)
    lab.push(task_id)
    assert lab.store.stop(task_id) is Code.OK
    assert lab.claim().claimed == []
    assert lab.state(task_id) == "STOPPED"


def test_a_delayed_task_leaves_the_delayed_set(lab):
    task_id = lab.waiting(delay=60.0)
    assert lab.store.stop(task_id) is Code.OK
    assert lab.scores(lab.names.delayed) == {}
    assert "unqueue" not in lab.record(task_id)
    assert lab.active() == {task_id}


def test_a_task_that_waits_for_its_next_attempt_is_stopped(lab):
    run = lab.running()
    lab.finish(run, State.RETRY, b'"why"', 60.0)
    assert lab.store.stop(run.task_id) is Code.OK
    assert lab.state(run.task_id) == "STOPPED"
    assert lab.scores(lab.names.delayed) == {}


def test_a_running_task_is_left_to_its_owner(lab, events_of):
    run = lab.running()
    control = events_of(run.task_id, control=True)

    assert lab.store.stop(run.task_id) is Code.SENT

    assert control.get() == b"stop"
    record = lab.record(run.task_id)
    assert (record["state"], record["control"]) == ("RUNNING", "stop")
    assert lab.scores(lab.names.leases).keys() == {run.task_id}
    before = lab.snapshot()
    assert lab.store.stop(run.task_id) is Code.SENT
    assert control.get() == b"stop"
    assert lab.snapshot() == before


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "EXCEPTION", "REVOKED", "UNHEARD_OF"])
def test_an_ended_task_is_not_stopped(lab, state):
    task_id = lab.put(lab.id(), task="x", state=state)
    before = lab.snapshot()
    assert lab.store.stop(task_id) is Code.WRONG_STATE
    assert lab.snapshot() == before


def test_a_missing_task_is_not_made(lab):
    assert lab.store.stop(lab.id()) is Code.MISSING
    assert lab.snapshot() == {}


def test_a_foreign_record_is_left_alone(lab):
    task_id = lab.id()
    lab.foreign(lab.names.record(task_id), b"list")
    before = lab.snapshot()
    assert lab.store.stop(task_id) is Code.BAD_TYPE
    assert lab.snapshot() == before


def test_a_repeat_has_one_effect(lab):
    task_id = lab.waiting()
    store, tap = lab.repeating()
    assert store.stop(task_id) is Code.ALREADY
    assert tap.first == 1
    before = lab.snapshot()
    assert lab.store.stop(task_id) is Code.ALREADY
    assert lab.snapshot() == before


def test_of_many_who_stop_a_waiting_task_one_does(lab):
    task_id = lab.waiting()
    codes = lab.race([lambda: lab.store.stop(task_id)] * 20)
    assert sorted(codes) == [Code.OK] + [Code.ALREADY] * 19


def test_stop_and_claim_at_once_never_start_a_stopped_task(lab):
    for _ in range(10):
        task_id = lab.waiting()
        code, reply = lab.race([lambda one=task_id: lab.store.stop(one), lab.claim])
        started = [run.task_id for run in reply.claimed]
        assert (code, started) in [(Code.OK, []), (Code.SENT, [task_id])]
        lab.store.remove(task_id, force=True)


def test_stop_restart_and_enqueue_leave_exactly_one_entry(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.store.restart(task_id)
    lab.store.stop(task_id)
    lab.enqueue(task_id)
    lab.store.restart(task_id)
    assert lab.queue() == [task_id]
    assert [run.task_id for run in lab.claim().claimed] == [task_id]
    assert lab.queue() == []


def test_a_stop_between_pop_and_claim_holds(lab):
    task_id = lab.waiting()
    lab.store.wait_for_task(lab.partition, "default", "w", 1)
    assert lab.store.stop(task_id) is Code.OK
    assert lab.claim().claimed == []
    assert lab.entries(lab.names.new_claim("default", "w")) == []


def test_foreign_values_under_our_keys_change_nothing(lab):
    task_id = lab.waiting()
    lab.check_wrong_types(
        lambda: lab.store.stop(task_id),
        {lab.names.tasks: b"set", lab.names.delayed: b"zset"},
    )
