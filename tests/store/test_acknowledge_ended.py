"""acknowledge_ended: claim list of a Cleanup -> forgotten, or kept as failed."""

import time

import pytest

from pytask.states import FAILED, Code, State
from tests.support.waiting import wait_until


def take(lab):
    return lab.store.take_ended(lab.partition, "w")


def acknowledge(lab, ended, keep_failed=True, store=None):
    return (store or lab.store).acknowledge_ended(
        lab.partition, "w", ended, keep_failed=keep_failed
    )


def test_a_success_is_forgotten(lab):
    lab.ended()
    assert acknowledge(lab, take(lab)) == [Code.OK]
    assert lab.snapshot().keys() == {lab.names.claims.encode()}


@pytest.mark.parametrize("state", sorted(FAILED))
def test_a_failure_is_kept_and_listed(lab, state):
    task_id = lab.ended(state, b'"why"')
    assert acknowledge(lab, take(lab)) == [Code.OK]
    record = lab.record(task_id)
    assert (record["state"], record["output"]) == (state, '"why"')
    assert not {"end_entry", "end_claim"} & record.keys()
    assert abs(lab.scores(lab.names.failed)[task_id] - time.time()) < 60
    assert lab.entries(lab.names.end_claim("w")) == []


@pytest.mark.parametrize("state", sorted(FAILED))
def test_a_failure_is_forgotten_when_nothing_is_to_be_kept(lab, state):
    lab.ended(state)
    assert acknowledge(lab, take(lab), keep_failed=False) == [Code.OK]
    assert lab.snapshot().keys() == {lab.names.claims.encode()}


@pytest.mark.parametrize("life", ["waiting", "running", "stopped", "ended"])
def test_a_task_that_lives_again_is_left_alone(lab, life):
    task_id = lab.ended()
    ended = take(lab)
    lab.store.restart(task_id)
    if life != "waiting":
        [run] = lab.claim().claimed
    if life == "stopped":
        lab.finish(run, State.STOPPED)
    if life == "ended":
        lab.finish(run)
    record = lab.record(task_id)

    assert acknowledge(lab, ended) == [Code.NOT_OWNER]

    assert lab.record(task_id) == record
    assert lab.entries(lab.names.end_claim("w")) == []
    if life == "ended":
        assert [one.done_run for one in take(lab)] == [run.token]


def test_a_mixed_batch_is_answered_task_by_task(lab):
    good, restarted, removed, foreign, failed = [lab.ended() for _ in range(4)] + [
        lab.ended(State.REVOKED)
    ]
    ended = take(lab)
    lab.store.restart(restarted)
    lab.store.remove(removed)
    lab.foreign(lab.names.record(foreign), b"list")

    codes = acknowledge(lab, ended)

    assert codes == [Code.OK, Code.NOT_OWNER, Code.MISSING, Code.BAD_TYPE, Code.OK]
    assert lab.entries(lab.names.end_claim("w")) == []
    assert lab.scores(lab.names.failed).keys() == {failed}
    assert not lab.record(good)


def test_a_repeat_has_one_effect(lab):
    lab.ended()
    failed = lab.ended(State.ERROR)
    ended = take(lab)
    store, tap = lab.repeating()
    assert acknowledge(lab, ended, store=store) == [Code.MISSING, Code.OK]
    assert tap.first == [1, 1]
    assert lab.scores(lab.names.failed).keys() == {failed}


def test_nothing_to_acknowledge_is_no_call(lab):
    assert acknowledge(lab, []) == []


def test_of_two_cleanups_that_hold_the_same_end_both_may_acknowledge(lab):
    task_id = lab.ended()
    ended = take(lab)
    lab.store.give_back(lab.partition, worker="w", queues=["default"])
    again = lab.store.take_ended(lab.partition, "w2")
    assert [one.task_id for one in again] == [task_id]
    codes = lab.race(
        [
            lambda: acknowledge(lab, ended)[0],
            lambda: lab.store.acknowledge_ended(lab.partition, "w2", again, keep_failed=True)[0],
        ]
    )
    assert sorted(codes) == [Code.MISSING, Code.OK]
    assert lab.snapshot().keys() == {lab.names.claims.encode()}


def test_a_cleanup_that_dies_before_it_acknowledges_loses_nothing(lab):
    ids = [lab.ended(), lab.ended(State.ERROR)]
    take(lab)
    lab.store.give_back(lab.partition, worker="w", queues=["default"], forget=True)
    again = lab.store.take_ended(lab.partition, "w2")
    assert [one.task_id for one in again] == ids


def test_foreign_values_under_our_keys_change_nothing(lab):
    lab.ended(State.ERROR)
    ended = take(lab)
    names = lab.names
    keys = {names.end_claim("w"): b"list", names.tasks: b"set", names.failed: b"zset"}
    lab.check_wrong_types(lambda: acknowledge(lab, ended), keys)


def popped_again(lab, state=State.SUCCESS):
    """An end that was taken, returned, and popped by another Cleanup of the same worker."""
    task_id = lab.ended(state)
    ended = take(lab)
    lab.store.return_ended(lab.partition, "w", [task_id])
    assert lab.store.wait_for_ended(lab.partition, "w", 1)
    return task_id, ended


def test_an_entry_that_stands_for_a_later_end_is_kept(lab):
    task_id, ended = popped_again(lab)
    lab.store.restart(task_id)
    lab.finish(lab.claim().claimed[0])

    assert acknowledge(lab, ended) == [Code.NOT_OWNER]

    assert [one.task_id for one in take(lab)] == [task_id]


def test_the_end_of_a_task_that_runs_again_finds_its_way_without_the_old_entry(lab):
    task_id, ended = popped_again(lab)
    lab.store.restart(task_id)

    assert acknowledge(lab, ended) == [Code.NOT_OWNER]
    lab.finish(lab.claim().claimed[0])

    assert lab.end_queue() == [task_id]


def test_an_end_that_was_returned_before_it_was_acknowledged_is_not_seen_again(lab):
    task_id = lab.ended(State.ERROR)
    ended = take(lab)
    lab.store.return_ended(lab.partition, "w", [task_id])

    assert acknowledge(lab, ended) == [Code.OK]

    assert lab.end_queue() == []
    assert "end_entry" not in lab.record(task_id)


def test_a_result_is_kept_for_its_time_and_forgotten_by_redis(lab):
    task_id, failed = lab.ended(State.SUCCESS, b'"here"'), lab.ended(State.ERROR)
    ended = take(lab)

    codes = lab.store.acknowledge_ended(
        lab.partition, "w", ended, keep_failed=True, keep_results=60.0
    )

    assert codes == [Code.OK, Code.OK]
    record = lab.record(task_id)
    assert (record["state"], record["output"], record["kept"]) == ("SUCCESS", '"here"', "1")
    assert not {"end_entry", "end_claim"} & record.keys()
    assert 0 < lab.call("PTTL", lab.names.record(task_id)) <= 60_000
    assert lab.call("PTTL", lab.names.record(failed)) == -1
    assert lab.scores(lab.names.failed).keys() == {failed}
    assert lab.active() == set()
    lab.call("PEXPIRE", lab.names.record(task_id), 1)
    wait_until(lambda: not lab.record(task_id))


def test_a_repeat_keeps_a_result_no_longer(lab):
    task_id = lab.ended()
    ended = take(lab)
    for seconds in (60.0, 6000.0):
        codes = lab.store.acknowledge_ended(
            lab.partition, "w", ended, keep_failed=True, keep_results=seconds
        )
        assert codes == [Code.OK]
    assert lab.entries(lab.names.end_claim("w")) == []
    assert lab.record(task_id)["kept"] == "1"
    assert 0 < lab.call("TTL", lab.names.record(task_id)) <= 60


def test_nobody_takes_a_kept_result_for_an_orphan(lab):
    task_id = lab.ended()
    lab.store.acknowledge_ended(lab.partition, "w", take(lab), keep_failed=True, keep_results=60.0)
    before = lab.snapshot()
    assert lab.store.adopt(task_id) is Code.WRONG_STATE
    assert lab.snapshot() == before
