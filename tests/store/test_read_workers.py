"""read_workers: the registry, as of one instant."""

import time

import pytest


def test_nobody_is_registered_at_first(lab):
    server_time, workers, next_in = lab.store.read_workers(-1)
    assert abs(server_time - time.time()) < 60
    assert (workers, next_in) == ([], None)
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


def test_it_tells_when_the_next_one_can_be_silent_for_so_long_while_nobody_is(lab):
    for worker, age in {"a": 1, "b": 3}.items():
        lab.call("ZADD", lab.keys.workers, time.time() - age, worker)
    _, silent, next_in = lab.store.read_workers(600)
    assert (silent, next_in) == ([], pytest.approx(597, abs=30))
    lab.call("ZADD", lab.keys.workers, time.time() - 900, "c")
    _, silent, next_in = lab.store.read_workers(600)
    assert ([one.worker for one in silent], next_in) == (["c"], None)


def test_the_names_alone_are_read_and_counted(lab):
    assert (lab.store.list_worker_names(), lab.store.count_workers()) == (set(), 0)
    for worker in ("a", "b"):
        lab.store.beat_worker(worker, {})
    assert (lab.store.list_worker_names(), lab.store.count_workers()) == ({"a", "b"}, 2)


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
