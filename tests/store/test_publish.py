"""publish: no edge, an event of a task."""

import json

import pytest

from pytask.serializers import MSGPACK, decode_value, encode_value


@pytest.mark.topologies("valkey", "cluster")
def test_what_a_task_says_is_heard_before_its_end(lab, events_of):
    task_id = lab.waiting()
    events = events_of(task_id)
    [run] = lab.claim().claimed
    assert json.loads(events.get())["event"] == "started"
    for number in range(50):
        lab.store.publish(task_id, "counted", json.dumps(number).encode())
    lab.finish(run)

    found = [json.loads(events.get()) for _ in range(51)]
    assert [event["data"] for event in found[:50]] == list(range(50))
    assert found[50] == {"event": "success", "data": None}


@pytest.mark.topologies("valkey", "cluster")
def test_an_event_needs_no_record_and_writes_nothing(lab, events_of):
    task_id = lab.id()
    events = events_of(task_id)
    before = lab.snapshot()
    lab.store.publish(task_id, "hello")
    assert json.loads(events.get()) == {"event": "hello", "data": None}
    assert lab.snapshot() == before


@pytest.mark.topologies("valkey", "cluster")
def test_a_foreign_value_under_the_name_of_the_record_does_not_matter(lab, events_of):
    task_id = lab.id()
    events = events_of(task_id)
    lab.foreign(lab.names.record(task_id), b"list")
    lab.store.publish(task_id, "hello", b"[1]")
    assert json.loads(events.get()) == {"event": "hello", "data": [1]}


@pytest.mark.topologies("valkey", "cluster")
def test_what_a_task_says_in_messagepack_is_heard_as_it_was_said(lab, events_of):
    task_id = lab.waiting()
    events = events_of(task_id)
    name = "a name of more than thirty-one bytes"
    lab.store.publish(task_id, name, encode_value([b"\xff"], MSGPACK))
    assert decode_value(events.get()) == {"event": name, "data": [b"\xff"]}
