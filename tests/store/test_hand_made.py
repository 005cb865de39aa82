"""What people do with redis-cli: records, pushes and edits by hand."""

import time

import pytest

from pytask.records import Rejected, id_to_bytes
from pytask.states import Code, State


def test_a_record_and_a_push_are_a_complete_task(lab):
    task_id = lab.put(lab.id(), task="by/hand", data='{"n":1}')
    lab.push(task_id)

    [run] = lab.claim().claimed

    assert (run.task_id, run.task, run.data) == (task_id, "by/hand", b'{"n":1}')
    assert (run.attempts, run.policy, run.local) == (1, b"", False)
    assert lab.finish(run) is Code.OK
    assert lab.end_queue() == [task_id]


def test_the_push_may_come_before_the_record(lab):
    task_id = lab.id()
    lab.push(task_id)
    assert lab.claim().set_aside == 1
    lab.put(task_id, task="by/hand", data="{}")
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_the_grace_is_what_the_settings_say(lab):
    settings = lab.store.settings.with_options(missing_grace=100.0)
    store = type(lab.store)(lab.store._link, lab.keys, settings)
    task_id = lab.id()
    lab.push(task_id)
    assert lab.claim(store=store).set_aside == 1
    lab.call("ZADD", lab.names.missing(), time.time() - 90, task_id)
    assert lab.claim(store=store).set_aside == 1
    assert lab.claim().rejected == [Rejected(task_id, "missing")]


def test_a_record_without_data_runs_with_none(lab):
    lab.push(lab.put(lab.id(), task="by/hand"))
    assert lab.claim().claimed[0].data == b""


def test_a_stopped_task_pushed_by_hand_restarts(lab):
    task_id = lab.stopped()
    lab.push(task_id)
    [run] = lab.claim().claimed
    assert (run.task_id, run.attempts) == (task_id, 2)


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "EXCEPTION", "REVOKED"])
def test_an_ended_task_pushed_by_hand_is_dropped(lab, state):
    task_id = lab.ended(State(state))
    record = lab.record(task_id)
    lab.push(task_id)
    assert lab.claim().rejected == [Rejected(task_id, "duplicate")]
    assert lab.record(task_id) == record
    assert lab.end_queue() == [task_id]


def test_a_task_whose_state_is_set_back_by_hand_runs_again(lab):
    task_id = lab.ended()
    lab.put(task_id, state="WAIT")
    lab.push(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.end_queue() == [task_id]


@pytest.mark.parametrize("task_id", [b"\xff\xfe", b"caf\xe9 {x}", b"\x80", b"a\x00b"])
def test_ids_that_are_no_text_survive_a_whole_life(lab, task_id):
    text = task_id.decode("utf-8", "surrogateescape")
    partition = lab.keys.partitions[lab.store.partition_of(text)]
    key = partition.record_prefix.encode() + task_id
    lab.call("HSET", key, "task", b"odd\xff", "data", b"\xff")
    lab.call("LPUSH", partition.new_queue(), task_id)

    reply = lab.store.claim(partition.number, worker="w", queues=["default"], limit=5, request="r")
    [run] = reply.claimed
    assert id_to_bytes(run.task_id) == task_id
    assert (run.data, run.task) == (b"\xff", "odd\udcff")
    again = lab.store.claim(partition.number, worker="w", queues=["default"], limit=5, request="r")
    assert again.claimed == [run]
    assert lab.store.heartbeat(partition.number, [(text, run.token)]) == []
    assert lab.store.stop(text) is Code.SENT
    assert lab.store.requeue(partition.number, [(text, run.token)]) == [Code.OK]
    assert lab.store.read_record(text)["state"] == "STOPPED"
    assert list(lab.store.iterate_active()) == [text]
    assert lab.store.remove(text) is Code.OK
    assert lab.call("EXISTS", key) == 0


def test_a_run_whose_record_is_edited_is_lost(lab):
    run = lab.running()
    for edit in ({"state": "WAIT"}, {"state": "RUNNING", "run": "someone"}):
        lab.put(run.task_id, **edit)
        [beat] = lab.store.heartbeat(lab.partition, [(run.task_id, run.token)])
        assert beat.code < 1


def test_flushed_data_leave_nothing_to_resurrect(lab):
    run = lab.running()
    for key in lab.snapshot():
        lab.call("DEL", key)
    assert lab.finish(run) is Code.MISSING
    assert lab.store.requeue(lab.partition, [(run.task_id, run.token)]) == [Code.MISSING]
    [beat] = lab.store.heartbeat(lab.partition, [(run.task_id, run.token)])
    assert beat.code is Code.MISSING
    assert lab.snapshot() == {}


def test_fields_can_be_written_and_read(lab):
    task_id = lab.id()
    lab.store.write_fields(task_id, {"task": "x", "data": "{}", "note": "ü"})
    assert lab.store.read_fields(task_id, ["note", "absent"]) == ["ü", None]
    assert lab.store.read_record(task_id) == {"task": "x", "data": "{}", "note": "ü"}
    assert lab.store.read_record("absent") == {}
