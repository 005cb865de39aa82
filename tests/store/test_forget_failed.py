"""forget_failed: ERROR, EXCEPTION, REVOKED kept longer than the retention -> (none)."""

import time

import pytest

from pytask.states import FAILED, State


@pytest.fixture
def kept(lab):
    """Make a kept failure: ``kept(state, age in seconds)``."""

    def make(state=State.ERROR, age=0.0):
        task_id = lab.ended(state)
        ended = lab.store.take_ended(lab.partition, "w")
        lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
        lab.call("ZADD", lab.names.failed, time.time() - age, task_id)
        return task_id

    return make


def forget(lab, *args, store=None):
    return (store or lab.store).forget_failed(lab.partition, *args)


def test_old_failures_are_forgotten_and_young_ones_kept(lab, kept):
    old = [kept(state, 100) for state in sorted(FAILED)]
    young = kept(age=50)

    assert forget(lab, 60) == 3

    assert [lab.record(task_id) for task_id in old] == [{}] * 3
    assert lab.state(young) == "ERROR"
    assert lab.scores(lab.names.failed).keys() == {young}


def test_a_retention_of_nothing_forgets_all(lab, kept):
    kept(age=1)
    assert forget(lab, 0.0) == 1
    assert lab.scores(lab.names.failed) == {}


def test_no_more_than_asked_for_are_looked_at_and_the_oldest_first(lab, kept):
    ids = [kept(age=200 - number) for number in range(3)]
    assert forget(lab, 60, 2) == 2
    assert lab.scores(lab.names.failed).keys() == {ids[2]}
    assert forget(lab, 60, 2) == 1
    assert forget(lab, 60, 2) == 0


@pytest.mark.parametrize("state", ["WAIT", "RUNNING", "STOPPED", "SUCCESS", "RETRY"])
def test_a_task_that_lives_again_only_leaves_the_list(lab, kept, state):
    task_id = kept(age=100)
    lab.put(task_id, state=state)
    assert forget(lab, 60) == 1
    assert lab.state(task_id) == state
    assert lab.scores(lab.names.failed) == {}


def test_entries_without_a_readable_record_leave_the_list(lab):
    foreign = lab.id()
    lab.foreign(lab.names.record(foreign), b"list")
    lab.call("ZADD", lab.names.failed, 1, foreign, 1, lab.id())
    assert forget(lab, 60) == 2
    assert lab.scores(lab.names.failed) == {}
    assert lab.call("LLEN", lab.names.record(foreign)) == 1


def test_a_repeat_has_one_effect(lab, kept):
    kept(age=100)
    store, tap = lab.repeating()
    assert forget(lab, 60, store=store) == 0
    assert tap.first == 1


def test_of_many_who_forget_each_failure_is_counted_once(lab, kept):
    for _ in range(5):
        kept(age=100)
    assert sum(lab.race([lambda: forget(lab, 60, 2)] * 10)) == 5


def test_a_foreign_list_changes_nothing(lab, kept):
    kept(age=100)
    lab.check_wrong_types(lambda: forget(lab, 60), {lab.names.failed: b"zset"})
