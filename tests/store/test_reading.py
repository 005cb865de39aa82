"""What people look at: counts and lists, over all partitions."""

import pytest

from pytask.exceptions import WrongKeyType
from pytask.states import State


@pytest.fixture
def spread(lab):
    """IDs over all partitions, one group for each place."""
    groups = {
        place: [f"{place}-{number}" for number in range(12)]
        for place in ("waiting", "mail", "delayed", "running", "stopped", "ended", "failed")
    }
    for place in ("running", "stopped", "ended", "failed"):
        lab.enqueue(*groups[place])
    claimed = {}
    for partition in lab.store.partitions:
        reply = lab.store.claim(partition, worker="w", queues=["default"], limit=99, request="r")
        claimed.update({run.task_id: (partition, run) for run in reply.claimed})
    for place, state in (("stopped", State.STOPPED), ("failed", State.ERROR)):
        _finish(lab, claimed, groups[place], state)
    for partition in lab.store.partitions:
        ended = lab.store.take_ended(partition, "w")
        lab.store.acknowledge_ended(partition, "w", ended, keep_failed=True)
    _finish(lab, claimed, groups["ended"], State.SUCCESS)
    lab.enqueue(*groups["waiting"])
    lab.enqueue(*groups["mail"], queue="mail")
    lab.enqueue(*groups["delayed"], delay=60.0)
    return groups


def _finish(lab, claimed, task_ids, state):
    from pytask.records import Outcome

    for task_id in task_ids:
        partition, run = claimed[task_id]
        lab.store.finish(partition, [Outcome(task_id, run.token, state, b"1")])


def test_every_task_is_listed_where_it_is(lab, spread):
    store = lab.store
    assert sorted(store.iterate_waiting()) == sorted(spread["waiting"])
    assert sorted(store.iterate_waiting("mail")) == sorted(spread["mail"])
    assert sorted(one for one, _ in store.iterate_delayed()) == sorted(spread["delayed"])
    assert sorted(store.iterate_active()) == sorted(spread["running"] + spread["stopped"])
    assert sorted(store.iterate_ended()) == sorted(spread["ended"])
    assert sorted(one for one, _ in store.iterate_failed()) == sorted(spread["failed"])
    assert set(store.scan_records()) == {one for group in spread.values() for one in group}


def test_every_task_is_counted_where_it_is(lab, spread):
    assert lab.store.count(["default", "mail"]) == {
        "waiting": 24,
        "delayed": 12,
        "running": 12,
        "active": 24,
        "ended": 12,
        "failed": 12,
    }


def test_nothing_is_counted_as_nothing(lab):
    assert set(lab.store.count().values()) == {0}
    assert list(lab.store.iterate_waiting()) == []
    assert list(lab.store.scan_records()) == []


def test_long_lists_are_read_in_pages(lab, monkeypatch):
    monkeypatch.setattr("pytask.store.reading.PAGE", 10)
    ids = lab.ids(35)
    lab.enqueue(*ids)
    assert list(lab.store.iterate_waiting()) == ids[::-1]


def test_reading_changes_nothing(lab, spread):
    before = lab.snapshot()
    lab.store.count()
    list(lab.store.scan_records())
    list(lab.store.iterate_active())
    assert lab.snapshot() == before


def test_a_foreign_value_is_named_as_the_cause(lab):
    lab.foreign(lab.names.new_queue(), b"set")
    with pytest.raises(WrongKeyType):
        list(lab.store.iterate_waiting())
