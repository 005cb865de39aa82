"""enqueue: (none), STOPPED, ended -> WAIT."""

import json
import time

import pytest

from pytask.events import Subscription
from pytask.exceptions import WrongKeyType
from pytask.records import NewTask
from pytask.states import Code, State
from tests.support.waiting import PATIENCE

from .lab import tally


def test_a_new_task_waits_in_its_queue_with_a_complete_record(lab):
    task_id = lab.id()

    assert lab.enqueue(task_id, data=b'{"n":1}') == [Code.OK]

    record = lab.record(task_id)
    assert float(record.pop("created")) > 1_700_000_000
    assert len(record.pop("eid")) == 16
    assert record == {"task": "lab/task", "data": '{"n":1}', "state": "WAIT"}
    assert lab.queue() == [task_id]
    assert lab.active() == set()


def test_tasks_are_taken_in_the_order_they_were_enqueued_in(lab):
    ids = lab.ids(5)
    lab.enqueue(*ids[:3])
    lab.enqueue(*ids[3:])
    assert lab.queue() == ids


def test_queue_cleanup_and_expiry_are_written_only_when_given(lab):
    task_id = lab.waiting(queue="mail", cleanup=False, expires=60.0)

    record = lab.record(task_id)
    assert record["queue"] == "mail"
    assert record["cleanup"] == "false"
    assert float(record["expires"]) - float(record["created"]) == pytest.approx(60, abs=0.01)
    assert lab.queue("mail") == [task_id]
    assert lab.queue() == []


def test_a_delayed_task_waits_in_the_delayed_set_only(lab):
    task_id = lab.waiting(delay=30.0)

    due = lab.scores(lab.names.delayed)[task_id]
    assert due - float(lab.record(task_id)["created"]) == pytest.approx(30, abs=0.01)
    assert lab.queue() == []
    assert lab.state(task_id) == "WAIT"


def test_many_tasks_of_many_queues_keep_their_order_and_codes(lab):
    ids = lab.ids(900)
    tasks = [NewTask(one, "lab/task", b"{}", f"q{at % 3}") for at, one in enumerate(ids)]
    assert lab.store.enqueue(tasks) == [Code.OK] * 900
    for number in range(3):
        assert lab.queue(f"q{number}") == ids[number::3]


def test_ids_of_all_partitions_may_be_mixed(lab):
    ids = [f"mixed-{number}" for number in range(40)]
    assert lab.enqueue(*ids) == [Code.OK] * 40
    assert sorted(lab.store.iterate_waiting()) == sorted(ids)
    assert lab.enqueue(*ids[:2], "mixed-new") == [Code.EXISTS, Code.EXISTS, Code.OK]


@pytest.mark.parametrize("state", ["WAIT", "RETRY", "RUNNING", "", None])
def test_a_living_task_is_left_alone(lab, state):
    task_id = lab.put(lab.id(), task="by/hand", data="{}")
    if state is not None:
        lab.put(task_id, state=state)
    before = lab.snapshot()

    assert lab.enqueue(task_id) == [Code.EXISTS]

    assert lab.snapshot() == before


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "EXCEPTION", "REVOKED", "STOPPED"])
def test_an_ended_or_stopped_task_starts_afresh(lab, state):
    task_id = lab.ended(State(state), b'"old"', cleanup=False)

    assert lab.enqueue(task_id, data=b'{"n":2}') == [Code.OK]

    record = lab.record(task_id)
    assert record["data"] == '{"n":2}'
    assert not {"output", "ended", "attempts", "started", "cleanup", "done_run"} & record.keys()
    assert lab.queue() == [task_id]
    assert lab.active() == set()


def test_a_kept_failure_that_starts_afresh_is_no_failure_any_more(lab):
    task_id = lab.ended(State.ERROR)
    ended = lab.store.take_ended(lab.partition, "w")
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    assert lab.scores(lab.names.failed).keys() == {task_id}

    lab.enqueue(task_id)

    assert lab.scores(lab.names.failed) == {}


def test_a_repeat_of_the_same_call_has_one_effect_and_says_so(lab):
    ids = lab.ids(3)
    lab.put(ids[1], task="busy", state="RUNNING")
    store, tap = lab.repeating()
    tasks = [NewTask(one, "lab/task", b"{}") for one in (*ids, ids[0])]

    codes = store.enqueue(tasks)

    assert codes == [Code.ALREADY, Code.EXISTS, Code.ALREADY, Code.EXISTS]
    assert tap.first == [1, -4, 1, -4]
    assert lab.queue() == [ids[0], ids[2]]


def test_a_repeat_after_the_task_was_claimed_leaves_the_run_alone(lab, monkeypatch):
    task_id = lab.id()
    monkeypatch.setattr("pytask.store.requests.new_request_id", lambda: "same")
    lab.enqueue(task_id)
    lab.claim()
    before = lab.snapshot()

    assert lab.enqueue(task_id) == [Code.ALREADY]

    assert lab.snapshot() == before


def test_an_id_twice_in_one_call_is_one_task(lab):
    task_id = lab.id()
    assert lab.enqueue(task_id, task_id) == [Code.OK, Code.EXISTS]
    assert lab.queue() == [task_id]


def test_of_many_clients_that_enqueue_the_same_ids_one_wins_each(lab):
    ids = lab.ids(10)
    replies = lab.race([lambda: lab.enqueue(*ids)] * 20)
    for codes in zip(*replies, strict=True):
        assert tally(codes) == {Code.OK: 1, Code.EXISTS: 19}
    assert sorted(lab.queue()) == sorted(ids)


def test_a_mixed_batch_is_answered_task_by_task(lab):
    fresh, busy, foreign, ended = lab.ids(4)
    lab.put(busy, task="x", state="RUNNING")
    lab.foreign(lab.names.record(foreign), b"list")
    lab.put(ended, task="x", state="SUCCESS", output="1")

    codes = lab.enqueue(fresh, busy, foreign, ended)

    assert codes == [Code.OK, Code.EXISTS, Code.BAD_TYPE, Code.OK]
    assert lab.queue() == [fresh, ended]
    assert lab.call("LRANGE", lab.names.record(foreign), 0, -1) == [b"foreign"]


def test_foreign_values_under_our_keys_change_nothing(lab):
    stopped, new = lab.stopped(), lab.id()
    lab.check_wrong_types(
        lambda: lab.enqueue(new, stopped, queue="mail"),
        {
            lab.names.tasks: b"set",
            lab.names.failed: b"zset",
            lab.names.new_queue("mail"): b"list",
        },
    )
    lab.check_wrong_types(lambda: lab.enqueue(new, delay=60.0), {lab.names.delayed: b"zset"})


def test_a_foreign_value_under_a_key_that_is_not_needed_is_in_nobodys_way(lab):
    for key in (lab.names.tasks, lab.names.delayed, lab.names.failed):
        lab.foreign(key, b"string")
    task_id = lab.waiting()
    assert lab.queue() == [task_id]


def test_tasks_of_one_call_may_differ_in_everything(lab):
    ids = lab.ids(6)
    tasks = [
        NewTask(ids[0], "one", b"1"),
        NewTask(ids[1], "two", b"2", "mail", expires=60.0),
        NewTask(ids[2], "one", b"3", delay=60.0),
        NewTask(ids[3], "two", b"4", "mail", False, policy=b'{"timeout":5}'),
        NewTask(ids[4], "one", b"5"),
        NewTask(ids[5], "two", b"6", "mail", expires=60.0),
    ]
    assert lab.store.enqueue(tasks) == [Code.OK] * 6
    assert lab.queue() == [ids[0], ids[4]]
    assert lab.queue("mail") == [ids[1], ids[3], ids[5]]
    assert lab.scores(lab.names.delayed).keys() == {ids[2]}
    for task in tasks:
        record = lab.record(task.task_id)
        assert (record["task"], record["data"]) == (task.task, task.data.decode())
        assert record.get("queue", "default") == task.queue
        given = {"cleanup": not task.cleanup, "expires": task.expires, "policy": task.policy}
        assert given.keys() & record.keys() == {name for name in given if given[name]}


def test_one_foreign_queue_does_not_harm_the_other(lab):
    lab.foreign(lab.names.new_queue("mail"), b"string")
    with pytest.raises(WrongKeyType):
        lab.enqueue(lab.id(), queue="mail")
    assert lab.enqueue(lab.id(), queue="sms") == [Code.OK]


@pytest.mark.parametrize(
    "data",
    [
        b'{"n":12345678901234567890123456789,"empty":[],"none":{}}',
        '{"text":"\u00e9\u4e2d\U0001f600\u2028"}'.encode(),
        b'{"odd":"\xff\xfe\x00\x01"}',
        json.dumps({"deep": [[[[[]]]]], "float": 1e-300}).encode(),
        b"",
        b"x" * 1_000_000,
    ],
    ids=["numbers", "unicode", "bytes", "nested", "empty", "large"],
)
def test_data_survives_byte_for_byte(lab, data):
    task_id = lab.waiting(data=data)
    [run] = lab.claim().claimed
    assert (run.task_id, run.data) == (task_id, data)
    assert lab.store.read_run(run).data == data


@pytest.mark.parametrize(
    "task_id",
    ["with space", "a{b}c", "{0}", "}{", "naïve-名前-😀", "a:claim:b", "*", "[x]", "'\"\\", "-1"],
)
def test_odd_ids_go_through_a_whole_life(lab, task_id):
    assert lab.store.enqueue([NewTask(task_id, "lab/task", b"{}")]) == [Code.OK]
    partition = lab.store.partition_of(task_id)
    reply = lab.store.claim(partition, worker="w", queues=["default"], limit=5, request="r")
    [run] = reply.claimed
    assert run.task_id == task_id
    assert lab.store.heartbeat(partition, [(task_id, run.token)]) == []
    assert list(lab.store.scan_records()) == [task_id]
    assert lab.store.stop(task_id) is Code.SENT
    assert lab.store.requeue(partition, [(task_id, run.token)]) == [Code.OK]
    assert lab.store.restart(task_id) is Code.OK
    assert list(lab.store.iterate_waiting()) == [task_id]
    assert lab.store.remove(task_id) is Code.OK
    assert lab.snapshot().keys() == {lab.keys.partitions[partition].claims.encode()}


# An entry that a stop left in its queue


def test_stop_and_enqueue_leave_exactly_one_queue_entry(lab):
    task_id = lab.waiting()
    for _ in range(3):
        assert lab.store.stop(task_id) is Code.OK
        assert lab.enqueue(task_id) == [Code.OK]
    assert lab.queue() == [task_id]
    assert "unqueue" not in lab.record(task_id)
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_a_delay_after_a_stop_is_kept_although_the_old_entry_still_stands(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, delay=60.0)

    reply = lab.claim()

    assert reply.claimed == []
    assert [one.reason for one in reply.rejected] == ["stopped"]
    lab.make_due()
    assert lab.store.promote(lab.partition).moved == 1
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_another_queue_after_a_stop_is_kept_although_the_old_entry_still_stands(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, queue="mail")

    assert lab.claim().claimed == []
    assert [run.task_id for run in lab.claim(queues=["mail"]).claimed] == [task_id]


def test_a_second_stop_holds_although_old_entries_still_stand(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, delay=60.0)
    lab.store.stop(task_id)
    lab.enqueue(task_id, queue="mail")
    lab.store.stop(task_id)

    assert lab.claim(queues=["default", "mail"]).claimed == []
    assert lab.state(task_id) == "STOPPED"
    assert lab.queue() == lab.queue("mail") == []
    assert "unqueue" not in lab.record(task_id)


def test_what_is_decided_for_one_task_is_in_its_record_and_goes_with_it(lab):
    task_id = lab.waiting(policy=b'{"timeout":5}')
    assert lab.record(task_id)["policy"] == '{"timeout":5}'
    [run] = lab.claim().claimed
    assert run.policy == b'0 {"timeout":5}'
    lab.finish(run)
    lab.enqueue(task_id)
    assert "policy" not in lab.record(task_id)
    assert lab.claim().claimed[0].policy == b""


def test_a_task_for_a_time_waits_in_the_delayed_set_until_then(lab):
    at = time.time() + 60
    task_id = lab.waiting(at=at, queue="mail")
    assert lab.scores(lab.names.delayed)[task_id] == pytest.approx(at, abs=0.001)
    assert lab.queue("mail") == []


def test_a_task_for_a_time_in_the_past_waits_in_its_queue(lab):
    task_id = lab.waiting(at=time.time() - 3600)
    assert lab.queue() == [task_id]
    assert lab.scores(lab.names.delayed) == {}


def test_a_task_for_a_node_is_announced_to_its_workers_and_no_other_is(lab, connector):
    hearer = Subscription(connector.link(), channels=[lab.keys.node_channel("node.web")])
    assert hearer.wait_ready(PATIENCE)
    try:
        lab.waiting()
        lab.waiting(queue="node.other")
        lab.waiting(queue="node.web", delay=60.0)
        lab.waiting(queue="node.web")
        assert hearer.get(PATIENCE).data == b"%d" % lab.partition
        lab.make_due()
        lab.store.promote(lab.partition)
        assert hearer.get(PATIENCE).data == b"%d" % lab.partition
        assert hearer.get(0.05) is None
    finally:
        hearer.close()


def test_promoters_hear_of_a_task_that_is_due_sooner_than_the_others(lab, connector):
    hearer = Subscription(connector.link(), channels=[lab.keys.wake_channel])
    assert hearer.wait_ready(PATIENCE)
    try:
        lab.waiting()
        for delay in (600.0, 900.0, 60.0):
            lab.waiting(delay=delay)
        heard = [hearer.get(PATIENCE).data for _ in range(2)]
        assert heard == [b"delayed:%d" % lab.partition] * 2
        assert hearer.get(0.05) is None
    finally:
        hearer.close()


def test_the_task_that_starts_others_stands_in_their_records(lab):
    first, second, third = lab.waiting(from_task="parent"), lab.waiting(), lab.waiting()
    assert lab.record(first)["from_task"] == "parent"
    assert "from_task" not in lab.record(second)
    assert "from_task" not in lab.record(third)


def test_what_came_into_its_queue_is_told_with_one_message(lab, events_of):
    events = events_of()
    waits, later, first, second = lab.waiting(), *lab.ids(3)
    assert json.loads(events.get()) == {"event": "queued", "tasks": [waits]}
    lab.enqueue(waits)
    lab.enqueue(later, delay=60.0)
    lab.enqueue(first, waits, second, queue="mail")
    assert json.loads(events.get()) == {"event": "queued", "tasks": [first, second]}
