"""forget_worker: a dead worker -> (none)."""

import json
import time

from pytask.states import Code


def register(lab, worker, silent_for):
    lab.store.beat_worker(worker, {"host": "h"})
    lab.call("ZADD", lab.keys.workers, time.time() - silent_for, worker)


def test_a_dead_worker_is_dropped_with_its_details(lab):
    register(lab, "w", 30)
    assert lab.store.forget_worker("w") is Code.OK
    assert lab.snapshot() == {}


def test_a_worker_that_showed_a_sign_of_life_is_kept(lab):
    register(lab, "w", 2)
    before = lab.snapshot()
    assert lab.store.forget_worker("w") is Code.FRESH
    assert lab.snapshot() == before


def test_a_worker_that_left_is_dropped_at_once(lab):
    lab.store.beat_worker("w", {"host": "h"})
    lab.store.leave_fleet("w")
    assert lab.store.forget_worker("w") is Code.OK


def test_an_unknown_worker_is_missing_and_its_details_go(lab):
    lab.call("HSET", lab.keys.worker("w"), "host", "h")
    assert lab.store.forget_worker("w") is Code.MISSING
    assert lab.snapshot() == {}


def test_a_repeat_has_one_effect(lab):
    register(lab, "w", 30)
    register(lab, "other", 30)
    store, tap = lab.repeating()
    assert store.forget_worker("w") is Code.MISSING
    assert tap.first == 1
    assert lab.scores(lab.keys.workers).keys() == {"other"}


def test_of_many_who_forget_a_worker_one_does(lab):
    register(lab, "w", 30)
    codes = lab.race([lambda: lab.store.forget_worker("w")] * 10)
    assert sorted(codes) == [Code.MISSING] * 9 + [Code.OK]


def test_a_foreign_registry_changes_nothing(lab):
    lab.check_wrong_types(lambda: lab.store.forget_worker("w"), {lab.keys.workers: b"zset"})


def test_one_that_was_silent_is_said_to_be_down_and_one_that_left_has_said_so(lab, events_of):
    events = events_of()
    for worker, beat in (("left", 0), ("silent", 1)):
        lab.call("ZADD", lab.keys.workers, beat, worker)
    for worker in ("left", "unknown", "silent", "silent"):
        lab.store.forget_worker(worker)
    lab.store.beat_worker("next", {})
    found = [json.loads(events.get()) for _ in range(2)]
    assert found == [{"event": "down", "worker": "silent"}, {"event": "up", "worker": "next"}]
