"""finish: RUNNING -> SUCCESS | ERROR | EXCEPTION | REVOKED | STOPPED | RETRY."""

import json
import time

import pytest

from pytask.records import Outcome
from pytask.serializers import decode_value, encode_value
from pytask.states import ENDED, Code, State


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_task_awaits_cleanup_with_its_output(lab, state):
    run = lab.running()

    assert lab.finish(run, state, b'{"big":12345678901234567890,"none":[]}') is Code.OK

    record = lab.record(run.task_id)
    assert record["state"] == state
    assert record["output"] == '{"big":12345678901234567890,"none":[]}'
    assert record["done_run"] == run.token
    assert abs(float(record["ended"]) - time.time()) < 60
    assert not {"run", "worker", "control"} & record.keys()
    assert lab.end_queue() == [run.task_id]
    assert lab.active() == set()
    assert lab.scores(lab.names.leases) == {}


def test_a_stopped_task_stays_in_the_task_set(lab):
    run = lab.running()
    assert lab.finish(run, State.STOPPED) is Code.OK
    assert lab.active() == {run.task_id}
    assert lab.end_queue() == []
    assert lab.scores(lab.names.leases) == {}


@pytest.mark.parametrize("state", sorted(ENDED))
def test_a_task_without_cleanup_stays_in_the_task_set(lab, state):
    run = lab.running(cleanup=False)
    lab.finish(run, state)
    assert lab.active() == {run.task_id}
    assert lab.end_queue() == []
    assert lab.state(run.task_id) == state


def test_a_task_that_stays_is_put_into_the_task_set_even_if_it_was_lost_from_it(lab):
    run = lab.running()
    lab.call("DEL", lab.names.tasks)
    lab.finish(run, State.STOPPED)
    assert lab.active() == {run.task_id}


def test_a_failed_attempt_waits_in_the_delayed_set(lab):
    run = lab.running()

    assert lab.finish(run, State.RETRY, b'"why"', delay=30.0) is Code.OK

    record = lab.record(run.task_id)
    assert (record["state"], record["output"]) == ("RETRY", '"why"')
    due = lab.scores(lab.names.delayed)[run.task_id]
    assert due - float(record["ended"]) == pytest.approx(30, abs=0.01)
    assert lab.active() == set()
    assert lab.end_queue() == lab.queue() == []


def test_a_delay_that_is_no_number_is_none(lab):
    run = lab.running()
    assert lab.finish(run, State.RETRY, delay=float("nan")) is Code.OK
    assert lab.store.promote(lab.partition).moved == 1


def test_retries_are_counted_once_however_often_the_end_is_told(lab):
    task_id = lab.waiting()
    for number in (1, 2, 3):
        [run] = lab.claim().claimed
        assert run.policy == (b"" if number == 1 else b"%d " % (number - 1))
        codes = [lab.finish(run, State.RETRY) for _ in range(3)]
        assert codes == [Code.OK, Code.ALREADY, Code.ALREADY]
        assert lab.record(task_id)["retries"] == str(number)
        lab.store.promote(lab.partition)


def test_a_count_of_retries_that_is_no_number_begins_anew(lab):
    task_id = lab.waiting()
    lab.put(task_id, retries="many")
    [run] = lab.claim().claimed
    lab.finish(run, State.RETRY)
    assert lab.record(task_id)["retries"] == "1"


def test_a_retry_that_was_told_to_stop_is_stopped(lab):
    run = lab.running()
    lab.store.stop(run.task_id)
    assert lab.finish(run, State.RETRY, delay=30.0) is Code.OK
    assert lab.state(run.task_id) == "STOPPED"
    assert lab.scores(lab.names.delayed) == {}
    assert lab.active() == {run.task_id}


def test_a_task_that_ends_by_itself_ends_so_although_it_was_told_to_stop(lab):
    run = lab.running()
    lab.store.stop(run.task_id)
    lab.finish(run, State.SUCCESS)
    assert lab.state(run.task_id) == "SUCCESS"


def test_a_repeat_has_one_effect_and_the_answer_already(lab):
    run = lab.running()
    store, tap = lab.repeating()
    assert lab.finish(run, store=store) is Code.ALREADY
    assert tap.first == [1]
    assert lab.end_queue() == [run.task_id]
    before = lab.snapshot()
    assert lab.finish(run, State.ERROR, b'"other"') is Code.ALREADY
    assert lab.snapshot() == before


def test_a_repeat_after_cleanup_finds_nothing(lab):
    run = lab.running()
    lab.finish(run)
    ended = lab.store.take_ended(lab.partition, "w")
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    assert lab.finish(run) is Code.MISSING
    assert not lab.record(run.task_id)


@pytest.mark.parametrize("state", [None, "WAIT", "STOPPED", "SUCCESS", "RETRY"])
def test_a_task_that_does_not_run_is_not_finished(lab, state):
    run = lab.running()
    key = lab.names.record(run.task_id)
    if state is None:
        lab.call("HDEL", key, "state")
    else:
        lab.put(run.task_id, state=state)
    before = lab.snapshot()
    assert lab.finish(run) is Code.WRONG_STATE
    assert lab.snapshot() == before


def test_a_record_that_was_deleted_is_not_resurrected(lab):
    run = lab.running()
    lab.call("DEL", lab.names.record(run.task_id))
    assert lab.finish(run) is Code.MISSING
    assert not lab.record(run.task_id)


def test_another_owner_is_not_disturbed(lab):
    run = lab.running()
    before = lab.snapshot()
    for token in ("", "1-0", run.token + "x", run.token[:-1]):
        assert lab.finish(run._replace(token=token)) is Code.NOT_OWNER
    assert lab.snapshot() == before


def test_a_mixed_batch_is_answered_run_by_run(lab):
    good, lost, gone, foreign, twice = (lab.running() for _ in range(5))
    lab.put(lost.task_id, run="9-other")
    lab.call("DEL", lab.names.record(gone.task_id))
    lab.foreign(lab.names.record(foreign.task_id), b"string")
    runs = [good, lost, gone, foreign, twice, twice]

    codes = lab.store.finish(
        lab.partition, [Outcome(run.task_id, run.token, State.SUCCESS, b"1") for run in runs]
    )

    assert codes == [
        Code.OK,
        Code.NOT_OWNER,
        Code.MISSING,
        Code.BAD_TYPE,
        Code.OK,
        Code.ALREADY,
    ]
    assert lab.end_queue() == [good.task_id, twice.task_id]
    assert lab.state(lost.task_id) == "RUNNING"


def test_a_large_batch_is_cut(lab):
    lab.enqueue(*lab.ids(450))
    runs = lab.claim(450).claimed
    outcomes = [Outcome(run.task_id, run.token, State.SUCCESS, b"1") for run in runs]
    assert lab.store.finish(lab.partition, outcomes) == [Code.OK] * 450
    assert lab.end_queue() == [run.task_id for run in runs]


def test_of_many_finishers_of_one_run_one_wins(lab):
    run = lab.running()
    states = sorted(ENDED) * 5
    codes = lab.race([lambda state=state: lab.finish(run, state) for state in states])
    assert sorted(codes) == [Code.OK] + [Code.ALREADY] * 19
    assert lab.state(run.task_id) == states[codes.index(Code.OK)]
    assert lab.end_queue() == [run.task_id]


def test_foreign_values_under_our_keys_change_nothing(lab):
    run = lab.running()
    names = lab.names
    lab.check_wrong_types(
        lambda: lab.finish(run, State.RETRY),
        {
            names.tasks: b"set",
            names.leases: b"zset",
            names.end_queue: b"list",
            names.delayed: b"zset",
        },
    )
    assert lab.finish(run) is Code.OK


@pytest.mark.topologies("valkey", "cluster")
def test_the_end_is_published_with_the_output_as_it_is(lab, events_of):
    task_id = lab.waiting()
    events = events_of(task_id)
    [run] = lab.claim().claimed
    assert events.get() == b'{"event":"started","data":{"attempt":1}}'
    lab.finish(run, State.ERROR, b'{"big":12345678901234567890,"none":[]}')
    assert events.get() == b'{"event":"error","data":{"big":12345678901234567890,"none":[]}}'


@pytest.mark.topologies("valkey", "cluster")
def test_the_whole_life_of_a_task_is_published(lab, events_of):
    task_id = lab.waiting()
    events = events_of(task_id)
    [run] = lab.claim().claimed
    lab.store.requeue(lab.partition, [(task_id, run.token)])
    lab.store.stop(task_id)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.age(task_id, 999)
    lab.store.reap(lab.partition, task_timeout=60, worker_timeout=5)
    [run] = lab.claim().claimed
    lab.store.publish(task_id, 'pro"gress', b"[1]")
    lab.finish(run)

    found = [json.loads(events.get()) for _ in range(8)]
    assert [(event["event"], event["data"]) for event in found] == [
        ("started", {"attempt": 1}),
        ("requeued", None),
        ("stopped", None),
        ("started", {"attempt": 2}),
        ("requeued", None),
        ("started", {"attempt": 3}),
        ('pro"gress', [1]),
        ("success", None),
    ]


# A task that ends again while its old entry still stands in the end queue


def test_a_task_that_ends_again_stands_in_the_end_queue_once(lab):
    task_id = lab.ended()
    for _ in range(3):
        assert lab.store.restart(task_id) is Code.OK
        [run] = lab.claim().claimed
        lab.finish(run)
    assert lab.end_queue() == [task_id]
    [ended] = lab.store.take_ended(lab.partition, "w")
    assert ended.done_run == run.token


def test_an_end_is_not_lost_when_the_old_entry_was_dropped_in_between(lab):
    task_id = lab.ended()
    lab.store.restart(task_id)
    assert lab.store.take_ended(lab.partition, "w") == []
    assert lab.end_queue() == []
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.end_queue() == [task_id]


def test_a_task_stopped_after_a_restart_keeps_the_mark_of_its_old_entry(lab):
    task_id = lab.ended()
    lab.enqueue(task_id)
    [run] = lab.claim().claimed
    lab.finish(run, State.STOPPED)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.end_queue() == [task_id]


@pytest.mark.topologies("valkey", "redis", "cluster")
def test_an_output_in_messagepack_is_announced_in_messagepack(lab, events_of):
    value = {"raw": b'\x00\xff"', "big": 2**63, "none": []}
    events = events_of(lab.waiting())
    [run] = lab.claim().claimed

    lab.finish(run, State.SUCCESS, encode_value(value, "msgpack"))

    assert decode_value(events.get())["event"] == "started"
    assert decode_value(events.get()) == {"event": "success", "data": value}
    assert decode_value(lab.record(run.task_id)["output"]) == value


def test_an_output_that_is_empty_is_announced_all_the_same(lab, events_of):
    events = events_of(lab.waiting())
    [run] = lab.claim().claimed
    assert lab.finish(run, State.SUCCESS, b"") is Code.OK
    assert decode_value(events.get())["event"] == "started"
    assert events.get() == b'{"event":"success","data":}'


def test_what_was_raised_is_stored_with_a_failure_and_published(lab, events_of):
    about = b'{"types":["a.B"],"message":"why"}'
    events = events_of(lab.waiting())
    [run] = lab.claim().claimed
    retried = lab.running()
    assert json.loads(events.get())["event"] == "started"
    outcomes = [
        Outcome(run.task_id, run.token, State.ERROR, b'"why"', 0.0, about),
        Outcome(retried.task_id, retried.token, State.RETRY, b'"why"', 5.0),
    ]
    assert lab.store.finish(lab.partition, outcomes) == [Code.OK, Code.OK]
    assert lab.record(run.task_id)["error"] == about.decode()
    assert events.get() == b'{"event":"error","data":"why","error":' + about + b"}"
    assert "error" not in lab.record(retried.task_id)
    assert retried.task_id in lab.scores(lab.names.delayed)


def test_what_was_raised_is_forgotten_by_a_restart(lab):
    run = lab.running()
    lab.store.finish(
        lab.partition, [Outcome(run.task_id, run.token, State.ERROR, b"1", 0.0, b'{"types":[]}')]
    )
    lab.store.restart(run.task_id)
    assert "error" not in lab.record(run.task_id)
