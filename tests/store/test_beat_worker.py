"""beat_worker: a worker says that it lives."""

import json
import time


def registered(lab):
    return {info.worker: info for info in lab.store.list_workers()}


def test_a_beat_enters_the_worker_with_the_servers_time(lab):
    lab.store.beat_worker("w", {"host": "h", "running": "3"})

    info = registered(lab)["w"]
    assert info.details == {"host": "h", "running": "3"}
    assert info.alive
    assert 0 <= info.silent_for < 60
    assert abs(lab.scores(lab.keys.workers)["w"] - time.time()) < 60


def test_the_next_beat_refreshes_time_and_details(lab):
    lab.store.beat_worker("w", {"running": "3"})
    lab.call("ZADD", lab.keys.workers, 1, "w")
    assert not registered(lab)["w"].alive
    lab.store.beat_worker("w", {"running": "4"})
    assert registered(lab)["w"].alive
    assert registered(lab)["w"].details == {"running": "4"}


def test_a_beat_with_nothing_new_refreshes_the_time_and_keeps_the_details(lab):
    lab.store.beat_worker("w", {"running": "3"})
    lab.call("ZADD", lab.keys.workers, 1, "w")
    assert lab.store.beat_worker("w", None)
    assert registered(lab)["w"].alive
    assert registered(lab)["w"].details == {"running": "3"}


def test_who_was_forgotten_is_entered_by_a_beat_with_nothing_new_and_told_so(lab, events_of):
    events = events_of()
    assert not lab.store.beat_worker("w", None)
    assert registered(lab)["w"].alive
    assert json.loads(events.get()) == {"event": "up", "worker": "w"}


def test_a_worker_with_nothing_to_say_lives_too(lab):
    lab.store.beat_worker("w", {})
    assert registered(lab)["w"].details == {}


def test_many_workers_beat_at_once(lab):
    beats = [
        lambda name=f"w{number}": lab.store.beat_worker(name, {"host": "h"}) for number in range(20)
    ]
    lab.race(beats)
    assert len(registered(lab)) == 20


def test_a_repeat_is_another_beat(lab):
    store, _ = lab.repeating()
    store.beat_worker("w", {"a": "1"})
    assert len(registered(lab)) == 1


def test_foreign_values_under_our_keys_change_nothing(lab):
    keys = {lab.keys.workers: b"zset", lab.keys.worker("w"): b"hash"}
    lab.check_wrong_types(lambda: lab.store.beat_worker("w", {"a": "1"}), keys)
    lab.check_wrong_types(lambda: lab.store.beat_worker("w", None), keys)


def test_the_first_beat_says_that_the_worker_is_up_and_the_next_says_nothing(lab, events_of):
    events = events_of()
    lab.store.beat_worker('"a"/1', {})
    lab.store.beat_worker('"a"/1', {})
    lab.store.beat_worker("b", {})
    found = [json.loads(events.get()) for _ in range(2)]
    assert found == [{"event": "up", "worker": one} for one in ('"a"/1', "b")]
    lab.store.leave_fleet("b")
    lab.store.beat_worker("b", {})
    assert [json.loads(events.get())["event"] for _ in range(2)] == ["down", "up"]
