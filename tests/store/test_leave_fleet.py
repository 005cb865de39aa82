"""leave_fleet: a worker says that it is gone."""

import json


def test_a_worker_that_leaves_is_dead_at_once_but_still_listed(lab):
    lab.store.beat_worker("w", {"host": "h"})
    lab.store.leave_fleet("w")
    [info] = lab.store.list_workers()
    assert not info.alive
    assert info.details == {"host": "h"}
    assert [one.worker for one in lab.store.read_workers(5)[1]] == ["w"]


def test_an_unknown_worker_is_not_entered(lab):
    lab.store.leave_fleet("w")
    assert lab.snapshot() == {}


def test_a_repeat_has_one_effect(lab):
    lab.store.beat_worker("w", {})
    store, tap = lab.repeating()
    store.leave_fleet("w")
    assert tap.first == 1
    assert lab.scores(lab.keys.workers) == {"w": 0}


def test_a_worker_that_beats_again_is_back(lab):
    lab.store.beat_worker("w", {})
    lab.store.leave_fleet("w")
    lab.store.beat_worker("w", {})
    assert lab.store.list_workers()[0].alive


def test_a_foreign_registry_changes_nothing(lab):
    lab.store.beat_worker("w", {})
    lab.check_wrong_types(lambda: lab.store.leave_fleet("w"), {lab.keys.workers: b"zset"})


def test_that_it_left_is_said_once(lab, events_of):
    events = events_of()
    lab.store.beat_worker("w", {})
    for worker in ("unknown", "w", "w"):
        lab.store.leave_fleet(worker)
    lab.store.beat_worker("next", {})
    found = [json.loads(events.get()) for _ in range(3)]
    assert found == [
        {"event": "up", "worker": "w"},
        {"event": "down", "worker": "w"},
        {"event": "up", "worker": "next"},
    ]
