"""claim: IDs without a record, which may still be on its way."""

import time

import pytest

from pytask.records import Rejected


def test_an_id_pushed_before_its_record_waits_for_it(lab):
    task_id = lab.id()
    lab.push(task_id)

    reply = lab.claim()
    assert (reply.claimed, reply.rejected, reply.set_aside) == ([], [], 1)
    assert lab.scores(lab.names.missing()).keys() == {task_id}
    assert lab.queue() == []
    assert lab.claim().set_aside == 1

    lab.put(task_id, task="by/hand", data="{}")
    [run] = lab.claim().claimed
    assert (run.task_id, run.task) == (task_id, "by/hand")
    assert lab.scores(lab.names.missing()) == {}


def test_an_id_that_gets_no_record_is_reported_after_the_grace(lab):
    task_id = lab.id()
    lab.push(task_id)
    lab.claim()
    lab.call("ZADD", lab.names.missing(), time.time() - 60, task_id)

    reply = lab.claim()

    assert (reply.rejected, reply.set_aside) == ([Rejected(task_id, "missing")], 0)
    assert lab.snapshot() == {}


def test_pushing_an_id_again_does_not_prolong_its_grace(lab):
    task_id = lab.id()
    lab.push(task_id)
    lab.claim()
    first_seen = time.time() - 3
    lab.call("ZADD", lab.names.missing(), first_seen, task_id)
    lab.push(task_id)
    lab.store.wait_for_task(lab.partition, "default", "w", 1)

    reply = lab.claim()

    assert reply.set_aside == 1
    assert lab.scores(lab.names.missing())[task_id] == pytest.approx(first_seen, rel=0, abs=0.01)


def test_a_record_with_data_but_without_a_task_waits_for_the_rest_and_runs_then(lab):
    task_id = lab.put(lab.id(), data='{"n":1}')
    lab.push(task_id)
    assert lab.claim().set_aside == 1
    lab.call("ZADD", lab.names.missing(), time.time() - 60, task_id)
    [run] = lab.claim().claimed
    assert (run.task, run.data) == ("", b'{"n":1}')


def test_ids_set_aside_stay_with_their_queue(lab):
    task_id = lab.id()
    lab.push(task_id, queue="mail")
    lab.claim(queues=["mail"])
    lab.put(task_id, task="x")
    assert lab.claim().claimed == []
    assert [run.task_id for run in lab.claim(queues=["mail"]).claimed] == [task_id]
