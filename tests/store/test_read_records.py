"""read_records: many records with one call."""

import pytest

from pytask.records import Outcome
from pytask.states import Code, State
from pytask.store import reading

from .lab import Tap


def test_whole_records_are_read_and_what_has_none_is_left_out(lab):
    first, second = lab.waiting(), lab.waiting(data=b'{"a":1}')
    records = lab.store.read_records([first, lab.id(), second])
    assert records == {one: lab.store.read_record(one) for one in (first, second)}
    assert records[second]["data"] == '{"a":1}'


def test_records_of_all_partitions_come_together(lab):
    task_ids = [f"task number {number}" for number in range(20)]
    lab.enqueue(*task_ids)
    assert set(lab.store.read_records(task_ids)) == set(task_ids)


def test_some_fields_are_read_without_the_rest(lab):
    run = lab.running()
    outcome = Outcome(run.task_id, run.token, State.ERROR, b"1", error=b'{"message":"m"}')
    assert lab.store.finish(lab.partition, [outcome]) == [Code.OK]
    missing = lab.id()
    assert lab.store.read_states([run.task_id, missing]) == {
        run.task_id: [b"ERROR", b"lab/task", b"1", b'{"message":"m"}'],
        missing: [None] * 4,
    }


def test_columns_are_text_and_what_is_no_task_has_none(lab):
    task_id, foreign, missing = lab.waiting(), lab.id(), lab.id()
    lab.foreign(lab.names.record(foreign), b"list")
    assert lab.store.read_columns([task_id, foreign, missing], ("task", "run")) == {
        task_id: ["lab/task", None],
        foreign: [],
        missing: [None, None],
    }


def test_many_are_read_in_batches(lab, monkeypatch):
    monkeypatch.setattr(reading, "READ_BATCH", 3)
    task_ids = lab.ids(7)
    lab.enqueue(*task_ids)
    tap = Tap(lab.store._link)
    assert set(lab.store.using(tap).read_records(task_ids)) == set(task_ids)
    assert [len(call) for call in tap.calls] == [3, 3, 1]


@pytest.mark.parametrize("kind", [b"string", b"list", b"set", b"zset"])
def test_a_foreign_value_is_no_record_and_hides_none(lab, kind):
    task_id, foreign = lab.waiting(), lab.id()
    lab.foreign(lab.names.record(foreign), kind)
    assert list(lab.store.read_records([foreign, task_id])) == [task_id]
    assert lab.store.read_states([foreign]) == {foreign: [None] * 4}


def test_reading_writes_nothing(lab):
    task_id = lab.waiting()
    before = lab.snapshot()
    lab.store.read_records([task_id, lab.id()])
    assert lab.snapshot() == before
