"""Monitor: what it takes back, what it mends, and when it holds its hand."""

import time
from typing import Any

import pytest

from pytask import InvalidTask, Monitor
from pytask.records import new_request_id
from pytask.tasks.monitor import (
    LOOK_INTERVAL,
    SHORTEST_GAP,
    SKIPPED,
    Witness,
)
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.topologies("valkey")


def watching(bind: Any, **options: Any) -> Monitor:
    """A Monitor that has seen Redis healthy for long enough to reap."""
    monitor = bind(Monitor(**options))
    monitor._witness.saw(0.0)
    monitor._witness._since -= 60
    monitor._witness._seen_at = time.monotonic()
    monitor._witness._server_time = monitor.helpers.store.read_workers(-1)[0]
    return monitor


def claim(helpers: Any, worker: str) -> Any:
    return helpers.store.claim(
        0, worker=worker, queues=["default"], limit=10, request=new_request_id()
    ).claimed


def age(helpers: Any, raw: Any, task_id: str, seconds: float) -> None:
    at = f"{time.time() - seconds:.3f}"
    helpers.set_task(task_id, "last_update", at)
    raw.zadd(helpers.keys.of(task_id).leases, {task_id: at})


def stale_task(helpers: Any, raw: Any) -> str:
    """Start a task whose worker has been silent for longer than the time-out of tasks."""
    task_id: str = helpers.start_task("x")
    claim(helpers, "w")
    age(helpers, raw, task_id, 61)
    return task_id


@pytest.mark.parametrize("options", [{"loop_interval": 0}, {"task_timeout": "soon"}])
def test_an_interval_that_is_none_is_refused(options: Any) -> None:
    with pytest.raises(InvalidTask, match="seconds are needed"):
        Monitor(**options)


def test_a_stale_task_is_taken_back_though_its_worker_lives(
    helpers: Any, bind: Any, raw: Any
) -> None:
    task_id = stale_task(helpers, raw)
    assert watching(bind).check_tasks() == 1
    assert helpers.get_task(task_id, "state") == "WAIT"


def test_a_monitor_that_has_just_begun_takes_nothing_back(
    helpers: Any, bind: Any, raw: Any
) -> None:
    task_id = stale_task(helpers, raw)
    monitor = bind(Monitor())
    assert monitor.look_at_workers() == []
    assert monitor.check_tasks() == 0
    assert helpers.get_task(task_id, "state") == "RUNNING"


def test_what_a_dead_worker_ran_and_had_popped_is_taken_back_and_it_is_forgotten(
    helpers: Any, bind: Any, raw: Any
) -> None:
    store, keys = helpers.store, helpers.keys
    store.beat_worker("dead", {"queues": "default,mail"})
    running = helpers.start_task("x")
    claim(helpers, "dead")
    age(helpers, raw, running, 2)
    popped = helpers.submit("x", queue="mail").id
    queue = keys.of(popped).new_queue("mail")
    raw.lmove(queue, keys.of(popped).new_claim("mail", "dead"), "RIGHT", "LEFT")
    raw.zadd(keys.workers, {"dead": 0})

    assert watching(bind).look_at_workers() == ["dead"]
    assert helpers.get_task(running, "state") == "WAIT"
    assert raw.lrange(queue, 0, -1) == [popped]
    assert store.list_workers() == []


def test_a_stray_claim_list_and_an_orphan_are_found(
    helpers: Any, bind: Any, raw: Any, namespace: Any
) -> None:
    keys = helpers.keys
    stray, orphan = helpers.start_task("x"), helpers.start_task("x")
    raw.lrem(keys.of(orphan).new_queue(), 0, orphan)
    raw.lmove(
        keys.of(stray).new_queue(), keys.of(stray).new_claim("default", "gone"), "RIGHT", "LEFT"
    )
    raw.sadd(keys.of("ghost").tasks, "ghost")
    monitor = watching(bind)

    def mended() -> bool:
        monitor.check_tasks()
        waiting = sorted(helpers.get_new_task_ids())
        return waiting == sorted([stray, orphan]) and not helpers.get_active_task_ids()

    wait_until(mended)


def test_a_partition_that_fails_is_reported_and_does_not_end_the_round(
    helpers: Any, bind: Any, raw: Any, caplog: Any
) -> None:
    raw.set(helpers.keys.partitions[0].leases, "foreign")
    monitor = watching(bind)
    monitor.check_tasks()
    assert "the others were checked" in caplog.text
    raw.delete(helpers.keys.partitions[0].leases)


def test_a_glance_puts_the_look_off_only_while_nobody_can_be_dead(
    helpers: Any, bind: Any, raw: Any
) -> None:
    store, workers = helpers.store, helpers.keys.workers
    store.beat_worker("w", {})
    assert not bind(Monitor())._all_seem_alive(), "it does not know the time of the server yet"
    monitor = watching(bind)
    monitor.look_at_workers()
    assert monitor._all_seem_alive()
    raw.zadd(workers, {"w": time.time() - 5.5})
    assert not monitor._all_seem_alive()
    raw.zadd(workers, {"w": time.time() + 60.0})
    assert not monitor._all_seem_alive(), "the clock of the server may have been set"
    raw.delete(workers)
    assert not monitor._all_seem_alive()


def test_mending_pauses_after_a_round_that_found_nothing_and_goes_on_when_a_worker_dies(
    helpers: Any, bind: Any, raw: Any
) -> None:
    monitor = watching(bind)
    monitor.check_tasks()
    raw.sadd(helpers.keys.of("ghost").tasks, "ghost")
    for _ in range(SKIPPED):
        monitor.check_tasks()
        assert helpers.get_active_task_ids() == ["ghost"]
    monitor.check_tasks()
    assert helpers.get_active_task_ids() == []

    raw.sadd(helpers.keys.of("ghost").tasks, "ghost")
    helpers.store.beat_worker("dead", {})
    raw.zadd(helpers.keys.workers, {"dead": 0})
    monitor.look_at_workers()
    monitor.check_tasks()
    assert helpers.get_active_task_ids() == []


def test_it_goes_on_when_redis_does_not_answer(helpers: Any, bind: Any, caplog: Any) -> None:
    import gevent

    monitor = bind(Monitor(loop_interval=0.1))
    loop = gevent.spawn(monitor.start)
    wait_until(lambda: monitor._witness.healthy_for() > 0)
    monitor.stop()
    loop.get(timeout=LOOK_INTERVAL + PATIENCE)


@pytest.mark.parametrize(
    ("task_timeout", "longest_gap"), [(60, 0.95), (0.8, 0.7), (0.2, SHORTEST_GAP)]
)
def test_the_time_outs_limit_for_how_long_answers_may_be_missing_unnoticed(
    bind: Any, task_timeout: float, longest_gap: float
) -> None:
    monitor = bind(Monitor(task_timeout=task_timeout))
    monitor.stop()
    monitor.start()
    assert monitor._witness.longest_gap == pytest.approx(longest_gap)
    assert monitor._longest_pause < longest_gap


def test_a_stall_or_a_jump_of_the_clock_begins_the_count_anew() -> None:
    witness = Witness()
    assert witness.healthy_for() == 0
    witness.saw(1000.0)
    witness._since -= 30
    witness.saw(1000.1)
    assert witness.healthy_for() > 29
    witness.saw(5000.0)
    assert witness.healthy_for() < 1
    witness.lost_sight()
    assert witness.healthy_for() == 0
