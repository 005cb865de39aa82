"""restart: STOPPED, ended -> WAIT."""

import pytest

from pytask.states import ENDED, READY, Code, State

from .lab import tally


@pytest.mark.parametrize("state", sorted(READY))
def test_a_ready_task_waits_again_with_the_data_it_has(lab, state):
    task_id = lab.ended(state, b'"old"', data=b'{"n":1}')

    assert lab.store.restart(task_id) is Code.OK

    record = lab.record(task_id)
    assert (record["state"], record["data"], record["attempts"]) == ("WAIT", '{"n":1}', "1")
    assert not {"output", "ended", "run", "worker", "control"} & record.keys()
    assert lab.queue() == [task_id]
    assert lab.active() == set()
    [run] = lab.claim().claimed
    assert run.attempts == 2


def test_a_task_returns_to_its_own_queue(lab):
    task_id = lab.ended(queue="mail")
    lab.store.restart(task_id)
    assert lab.queue("mail") == [task_id]


def test_a_task_without_cleanup_leaves_the_task_set(lab):
    task_id = lab.ended(cleanup=False)
    lab.store.restart(task_id)
    assert lab.active() == set()


def test_a_dead_letter_gets_all_its_lives_back(lab):
    run = lab.running()
    lab.put(run.task_id, reaps="2", history="one\ntwo")
    lab.age(run.task_id, 100)
    lab.store.reap(lab.partition, task_timeout=60, worker_timeout=5)
    ended = lab.store.take_ended(lab.partition, "w")
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    assert lab.scores(lab.names.failed).keys() == {run.task_id}

    assert lab.store.restart(run.task_id) is Code.OK

    assert not {"reaps", "history", "end_claim"} & lab.record(run.task_id).keys()
    assert lab.scores(lab.names.failed) == {}


def test_an_expiry_does_not_revoke_what_a_person_restarted(lab):
    task_id = lab.waiting(expires=60.0)
    lab.put(task_id, expires="1")
    lab.claim()
    assert lab.state(task_id) == "REVOKED"
    lab.store.restart(task_id)
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


@pytest.mark.parametrize("state", ["WAIT", "RETRY", "RUNNING", "", None])
def test_a_living_task_is_left_alone(lab, state):
    task_id = lab.put(lab.id(), task="x")
    if state is not None:
        lab.put(task_id, state=state)
    before = lab.snapshot()
    assert lab.store.restart(task_id) is Code.EXISTS
    assert lab.snapshot() == before


def test_only_the_states_asked_for_are_restarted(lab):
    task_id = lab.ended(State.ERROR)
    before = lab.snapshot()
    assert lab.store.restart(task_id, [State.STOPPED]) is Code.WRONG_STATE
    assert lab.snapshot() == before
    assert lab.store.restart(task_id, ENDED) is Code.OK


def test_a_missing_task_is_not_made(lab):
    assert lab.store.restart(lab.id()) is Code.MISSING
    assert lab.snapshot() == {}


def test_a_foreign_record_is_left_alone(lab):
    task_id = lab.id()
    lab.foreign(lab.names.record(task_id), b"zset")
    before = lab.snapshot()
    assert lab.store.restart(task_id) is Code.BAD_TYPE
    assert lab.snapshot() == before


def test_a_repeat_has_one_effect(lab):
    task_id = lab.stopped()
    store, tap = lab.repeating()
    assert store.restart(task_id) is Code.ALREADY
    assert tap.first == 1
    assert lab.queue() == [task_id]


def test_a_repeat_is_recognised_even_when_the_task_runs_or_has_ended_again(lab, monkeypatch):
    monkeypatch.setattr("pytask.store.requests.new_request_id", lambda: "same")
    task_id = lab.stopped()
    lab.call("HDEL", lab.names.record(task_id), "eid")
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    assert lab.store.restart(task_id) is Code.ALREADY
    lab.finish(run)
    before = lab.snapshot()
    assert lab.store.restart(task_id, [State.STOPPED]) is Code.ALREADY
    assert lab.snapshot() == before


def test_of_many_who_restart_a_task_one_does(lab):
    task_id = lab.stopped()
    codes = lab.race([lambda: lab.store.restart(task_id)] * 20)
    assert tally(codes) == {Code.OK: 1, Code.EXISTS: 19}
    assert lab.queue() == [task_id]


def test_restart_and_enqueue_at_once_leave_one_entry(lab):
    for seed in (lab.stopped, lab.ended, lab.waiting):
        task_id = seed()
        lab.store.stop(task_id)
        lab.race([lambda one=task_id: lab.store.restart(one), lambda one=task_id: lab.enqueue(one)])
        assert lab.queue() == [task_id]
        lab.store.remove(task_id)


def test_an_entry_that_a_stop_left_behind_serves_again(lab):
    first, second = lab.waiting(), lab.waiting()
    lab.store.stop(first)
    assert lab.store.restart(first) is Code.OK
    assert lab.queue() == [first, second]
    assert "unqueue" not in lab.record(first)
    assert len(lab.claim().claimed) == 2


def test_an_old_end_is_not_acknowledged_after_a_restart(lab):
    task_id = lab.ended()
    [ended] = lab.store.take_ended(lab.partition, "w")
    lab.store.restart(task_id)
    codes = lab.store.acknowledge_ended(lab.partition, "w", [ended], keep_failed=True)
    assert codes == [Code.NOT_OWNER]
    assert lab.state(task_id) == "WAIT"


def test_foreign_values_under_our_keys_change_nothing(lab):
    task_id = lab.ended(State.STOPPED, queue="mail")
    keys = {
        lab.names.tasks: b"set",
        lab.names.new_queue("mail"): b"list",
        lab.names.failed: b"zset",
    }
    lab.check_wrong_types(lambda: lab.store.restart(task_id), keys)


def test_a_restart_forgets_retries_and_keeps_what_was_decided_for_the_task(lab):
    task_id = lab.ended(policy=b'{"max_retries":9}')
    lab.put(task_id, retries="4")
    assert lab.store.restart(task_id) is Code.OK
    [run] = lab.claim().claimed
    assert run.policy == b'0 {"max_retries":9}'


def test_a_result_that_is_kept_lives_on_when_its_task_is_restarted(lab):
    task_id = lab.ended()
    ended = lab.store.take_ended(lab.partition, "w")
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True, keep_results=60.0)

    assert lab.store.restart(task_id) is Code.OK

    assert lab.call("PTTL", lab.names.record(task_id)) == -1
    assert "kept" not in lab.record(task_id)
    assert lab.queue() == [task_id]
