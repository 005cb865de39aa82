"""heartbeat: RUNNING -> RUNNING."""

import time

import pytest

from pytask.records import Beat
from pytask.states import Code


def beat(lab, *runs):
    return lab.store.heartbeat(lab.partition, [(run.task_id, run.token) for run in runs])


def test_a_heartbeat_refreshes_lease_and_record_and_has_nothing_to_say(lab):
    runs = [lab.running(), lab.running()]
    for run in runs:
        lab.age(run.task_id, 50)

    assert beat(lab, *runs) == []

    for run in runs:
        at = float(lab.record(run.task_id)["last_update"])
        assert abs(at - time.time()) < 60
        assert lab.scores(lab.names.leases)[run.task_id] == at


def test_a_heartbeat_restores_a_lease_that_was_lost_from_the_index(lab):
    run = lab.running()
    lab.call("DEL", lab.names.leases)
    assert beat(lab, run) == []
    assert lab.scores(lab.names.leases).keys() == {run.task_id}


def test_a_pending_control_is_reported_at_every_beat_until_it_is_done(lab):
    run = lab.running()
    lab.store.stop(run.task_id)
    for _ in range(2):
        assert beat(lab, run) == [Beat(run.task_id, run.token, Code.OK, "stop")]


def test_lost_runs_are_told_apart_and_change_nothing(lab):
    good, other, gone, stopped, done, foreign = (lab.running() for _ in range(6))
    lab.put(other.task_id, run="7-other")
    lab.call("DEL", lab.names.record(gone.task_id))
    lab.put(stopped.task_id, state="STOPPED")
    lab.finish(done)
    lab.foreign(lab.names.record(foreign.task_id), b"zset")
    for run in (good, other):
        lab.age(run.task_id, 50)
    before = lab.snapshot()

    beats = beat(lab, other, gone, stopped, done, foreign)

    assert [(one.task_id, one.code) for one in beats] == [
        (other.task_id, Code.NOT_OWNER),
        (gone.task_id, Code.MISSING),
        (stopped.task_id, Code.WRONG_STATE),
        (done.task_id, Code.ALREADY),
        (foreign.task_id, Code.BAD_TYPE),
    ]
    assert lab.snapshot() == before
    assert beat(lab, good, other)[0].task_id == other.task_id
    assert lab.changes(before) == [f"task-{good.task_id}", "tasks:lease"]


def test_a_lost_run_with_a_pending_control_is_lost(lab):
    run = lab.running()
    lab.store.stop(run.task_id)
    lab.put(run.task_id, run="7-other")
    assert beat(lab, run) == [Beat(run.task_id, run.token, Code.NOT_OWNER, "")]


def test_many_runs_are_beaten_in_chunks(lab):
    lab.enqueue(*lab.ids(1_100))
    runs = [run for _ in range(3) for run in lab.claim(500).claimed]
    lab.store.stop(runs[700].task_id)
    assert beat(lab, *runs) == [Beat(runs[700].task_id, runs[700].token, Code.OK, "stop")]


def test_a_repeat_changes_nothing_more(lab):
    run = lab.running()
    store, tap = lab.repeating()
    assert store.heartbeat(lab.partition, [(run.task_id, run.token)]) == []
    assert tap.first == []


def test_no_runs_are_no_call(lab):
    assert beat(lab) == []


def test_a_foreign_lease_index_changes_nothing(lab):
    run = lab.running()
    lab.check_wrong_types(lambda: beat(lab, run), {lab.names.leases: b"zset"})


def test_beats_and_a_reaper_at_once_leave_each_task_to_one_of_them(lab):
    runs = [lab.running() for _ in range(20)]
    for run in runs:
        lab.age(run.task_id, 100)

    def reap():
        return lab.store.reap(lab.partition, task_timeout=60, worker_timeout=5, limit=7)

    replies = lab.race([lambda: beat(lab, *runs), *[reap] * 6])
    reaped = [one.task_id for reply in replies[1:] for one in reply.reaped]
    assert len(set(reaped)) == len(reaped)
    # What was beaten first is fresh; what was reaped first is reported as lost from then on.
    assert {one.task_id for one in beat(lab, *runs)} == set(reaped)


@pytest.mark.parametrize("token", ["", "1-", "0"])
def test_a_run_without_a_token_belongs_to_nobody(lab, token):
    run = lab.running()
    lab.call("HDEL", lab.names.record(run.task_id), "run")
    assert beat(lab, run._replace(token=token))[0].code is Code.WRONG_STATE
