"""read_workers: the registry, as of one instant."""

import time

import pytest


def test_nobody_is_registered_at_first(lab):
    server_time, workers = lab.store.read_workers(-1)
    assert abs(server_time - time.time()) < 60
    assert workers == []
    assert lab.snapshot() == {}


def test_the_silence_of_each_worker_is_measured_on_the_servers_clock(lab):
    for worker, age in {"living": 0, "dead": 30}.items():
        lab.store.beat_worker(worker, {"host": worker})
        lab.call("ZADD", lab.keys.workers, time.time() - age, worker)

    dead, living = lab.store.list_workers()

    assert (dead.worker, dead.alive, dead.details) == ("dead", False, {"host": "dead"})
    assert dead.silent_for == pytest.approx(30, abs=2)
    assert (living.worker, living.alive) == ("living", True)


def test_only_those_silent_for_longer_are_listed_when_asked(lab):
    for worker, age in {"a": 0, "b": 10, "c": 30}.items():
        lab.call("ZADD", lab.keys.workers, time.time() - age, worker)
    assert [info.worker for info in lab.store.read_workers(5)[1]] == ["c", "b"]
    assert [info.worker for info in lab.store.read_workers(20)[1]] == ["c"]


def test_a_worker_with_foreign_details_is_listed_without(lab):
    lab.store.beat_worker("w", {"a": "1"})
    lab.foreign(lab.keys.worker("w"), b"list")
    [info] = lab.store.list_workers()
    assert info.details == {}


def test_looking_writes_nothing(lab):
    lab.store.beat_worker("w", {"a": "1"})
    before = lab.snapshot()
    lab.store.list_workers()
    assert lab.snapshot() == before


def test_a_foreign_registry_is_named(lab):
    lab.check_wrong_types(lab.store.list_workers, {lab.keys.workers: b"zset"})
