"""sweep: heals what no transition covers."""

import pytest

from pytask.states import State


def sweep(lab):
    cursor, mended = lab.store.sweep(lab.partition)
    while cursor:
        cursor, more = lab.store.sweep(lab.partition, cursor)
        mended += more
    return sorted(mended)


def test_a_healthy_task_set_is_left_alone(lab):
    lab.running()
    lab.stopped()
    lab.ended(State.ERROR, cleanup=False)
    before = lab.snapshot()
    assert sweep(lab) == []
    assert lab.snapshot() == before


def test_an_empty_task_set_is_no_work(lab):
    assert lab.store.sweep(lab.partition) == (0, [])


def test_an_id_without_a_record_leaves_set_and_leases(lab):
    task_id = lab.id()
    lab.call("SADD", lab.names.tasks, task_id)
    lab.call("ZADD", lab.names.leases, 1, task_id)
    assert sweep(lab) == [("no_record", task_id)]
    assert lab.snapshot() == {}


def test_a_running_task_without_a_lease_gets_one_as_old_as_its_last_heartbeat(lab):
    run = lab.running()
    lab.age(run.task_id, 100)
    lab.call("DEL", lab.names.leases)

    assert sweep(lab) == [("no_lease", run.task_id)]

    at = float(lab.record(run.task_id)["last_update"])
    assert lab.scores(lab.names.leases)[run.task_id] == at
    assert sweep(lab) == []
    assert len(lab.store.reap(lab.partition, task_timeout=60, worker_timeout=5).reaped) == 1


@pytest.mark.parametrize("last_update", [None, "", "nan", " 12", "0x10", "long ago"])
def test_a_running_task_whose_heartbeat_is_unreadable_gets_a_lease_all_the_same(lab, last_update):
    run = lab.running()
    lab.call("HDEL", lab.names.record(run.task_id), "last_update")
    if last_update is not None:
        lab.put(run.task_id, last_update=last_update)
    lab.call("DEL", lab.names.leases)
    assert sweep(lab) == [("no_lease", run.task_id)]
    assert lab.scores(lab.names.leases).keys() == {run.task_id}


@pytest.mark.parametrize("state", ["WAIT", "RETRY"])
@pytest.mark.parametrize("cleanup", [True, False])
def test_a_waiting_task_leaves_the_set(lab, state, cleanup):
    task_id = lab.waiting(cleanup=cleanup)
    lab.put(task_id, state=state)
    lab.call("SADD", lab.names.tasks, task_id)
    assert sweep(lab) == [("not_ours", task_id)]
    assert lab.active() == set()
    assert lab.queue() == [task_id]


def test_an_ended_task_that_awaits_cleanup_leaves_the_set(lab):
    task_id = lab.ended()
    lab.call("SADD", lab.names.tasks, task_id)
    assert sweep(lab) == [("not_ours", task_id)]
    assert lab.end_queue() == [task_id]


def test_what_cannot_be_judged_is_left_alone(lab):
    foreign, stateless, half_written = lab.ids(3)
    lab.foreign(lab.names.record(foreign), b"list")
    lab.put(stateless, task="x")
    lab.put(half_written, data="{}")
    lab.call("SADD", lab.names.tasks, foreign, stateless, half_written)
    before = lab.snapshot()
    assert sweep(lab) == []
    assert lab.snapshot() == before


def test_a_large_set_is_swept_in_steps(lab):
    ids = lab.ids(1_500)
    lab.call("SADD", lab.names.tasks, *ids)
    steps = cursor = 0
    mended = []
    while steps == 0 or cursor:
        cursor, found = lab.store.sweep(lab.partition, cursor, 100)
        mended += [task_id for _, task_id in found]
        steps += 1
    assert steps > 5
    assert set(mended) == set(ids)
    assert lab.snapshot() == {}


def test_a_repeat_has_one_effect(lab):
    lab.call("SADD", lab.names.tasks, lab.id())
    store, tap = lab.repeating()
    assert store.sweep(lab.partition) == (0, [])
    assert len(tap.first) == 3


def test_of_many_sweepers_each_mends_what_is_left(lab):
    ids = lab.ids(5)
    lab.call("SADD", lab.names.tasks, *ids)
    found = lab.race([lambda: sweep(lab)] * 10)
    assert sorted(task_id for mended in found for _, task_id in mended) == sorted(ids)


def test_foreign_values_under_our_keys_change_nothing(lab):
    lab.running()
    keys = {lab.names.tasks: b"set", lab.names.leases: b"zset"}
    lab.check_wrong_types(lambda: sweep(lab), keys)
