"""F11 to F18: the code of tasks hangs, forks, raises, kills its worker or takes its resources."""

import os
import signal
from contextlib import suppress
from typing import Any

import pytest

from tests.faults.conftest import (
    FAST,
    MONITOR,
    STEADY,
    Launch,
    Recovery,
    of_state,
    record_of,
    state_of,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey")


@pytest.mark.slow
def test_f11_a_task_that_hangs_keeps_its_lease_until_somebody_stops_it(
    launch: Launch, helpers: Any
) -> None:
    """A lease says that the worker lives, not that the task gets on."""
    monitor = 'pytask/monitor={"task_timeout": 2.0}'
    worker = launch(task_timeout=2.0, **STEADY)
    launch(monitor, queues=["none"], **STEADY)
    task_id = helpers.start_task("sleeper", seconds=1e9)
    worker.wait_for_event("started")
    started = float(record_of(helpers, task_id)["started"])
    wait_until(lambda: float(record_of(helpers, task_id)["last_update"]) > started + 5.0)
    assert record_of(helpers, task_id)["attempts"] == "1"
    clock = Recovery(1.0)
    helpers.stop_task(task_id)
    of_state(helpers, [task_id], "STOPPED")
    clock.check()


@pytest.mark.slow
def test_f12_a_task_that_swallows_the_stop_is_left_behind_and_does_not_keep_its_worker(
    launch: Launch, helpers: Any
) -> None:
    worker = launch(concurrency=2, stop_timeout=0.5)
    first, second = helpers.start_tasks([("deaf", {})] * 2)
    worker.wait_for_event("deaf", count=2)
    waiting = helpers.start_task("echo")
    helpers.stop_task(first)
    # Its slot is free, and a person is told where it hangs.
    of_state(helpers, [first], "STOPPED")
    of_state(helpers, [waiting], "SUCCESS")
    worker.wait_for_line(f"task {first} .* cannot be stopped")
    worker.wait_for_line("time.sleep")
    clock = Recovery(2 * 0.5 + 1.0 + 2.0)  # two steps of stop_timeout and one of a second
    assert worker.stop() == 0
    clock.check()
    assert state_of(helpers, second) == "WAIT"
    assert state_of(helpers, first) == "STOPPED"


@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
def test_f13_the_forked_child_of_a_killed_worker_does_nothing_in_its_name(
    launch: Launch, helpers: Any, how: str
) -> None:
    """``Supervisor.fall_silent``: the child has a copy of every greenlet of the worker."""
    victim = launch(**FAST)
    helpers.start_task("ticker")
    victim.wait_for_event("tick")
    task_id = helpers.start_task("forks-and-stays", how=how)
    child = victim.wait_for_event("forked")["child"]
    try:
        victim.wait_for_event("turning", pid=child)
        other = launch(MONITOR, **FAST)
        clock = Recovery(FAST["worker_timeout"] + 3.0)
        victim.process.kill()
        # Nobody keeps the leases, and nobody claims anything, although the child goes on.
        other.wait_for_event("forked")
        clock.check()
        assert record_of(helpers, task_id)["attempts"] == "2"
        ticks = victim.output.count('"tick"')
        echoes = helpers.start_tasks([("echo", {})] * 50)
        of_state(helpers, echoes, "SUCCESS")
        seen = {one["pid"] for one in [*victim.events, *other.events] if one["event"] == "echo"}
        assert seen == {other.pid}
        os.kill(child, 0)
        assert victim.output.count('"tick"') <= ticks + 1  # one that was on its way
    finally:
        for worker in (victim, other):
            for one in worker.events:
                if one["event"] == "forked":
                    with suppress(ProcessLookupError):
                        os.kill(one["child"], signal.SIGKILL)


@pytest.mark.slow
def test_f14_tasks_that_kill_their_worker_become_dead_letters_after_three_of_them(
    launch: Launch, helpers: Any
) -> None:
    """And one that runs out of memory is an exception like any other."""
    bystander = launch(MONITOR, queues=["good"], env={"LIMIT_MEMORY": "300000000"}, **STEADY)
    hungry = helpers.submit("devours", {}, queue="good").id
    sleeper = helpers.submit("sleeper", {}, queue="good").id
    of_state(helpers, [hungry], "EXCEPTION")
    assert "MemoryError" in record_of(helpers, hungry)["output"]
    ways = ("segfault", "exit")
    poison = {how: helpers.submit("deadly", {"how": how}, queue=how).id for how in ways}
    victims = {how: [launch(queues=[how], wait=False, **FAST)] for how in ways}

    def are_put_aside() -> bool:
        for how in ways:
            if not victims[how][-1].running and state_of(helpers, poison[how]) == "WAIT":
                victims[how].append(launch(queues=[how], wait=False, **FAST))
        return {state_of(helpers, one) for one in poison.values()} == {"EXCEPTION"}

    wait_until(are_put_aside, 80)
    assert {how: record_of(helpers, poison[how])["reaps"] for how in ways} == {
        "segfault": "3",
        "exit": "3",
    }
    assert {how: len(victims[how]) for how in ways} == {"segfault": 3, "exit": 3}
    # Whoever else ran was not disturbed, and work goes on.
    for how in ways:
        last = launch(queues=[how], **FAST)
        of_state(helpers, [helpers.submit("echo", {}, queue=how).id], "SUCCESS")
        assert last.running
    assert bystander.running
    assert record_of(helpers, sleeper)["attempts"] == "1"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_f16_each_signal_that_asks_for_the_end_requeues_what_runs(
    launch: Launch, helpers: Any, number: int
) -> None:
    worker = launch(drain_timeout=4.0)
    short, long = helpers.start_tasks([("sleeper", {"seconds": 1.0}), ("sleeper", {})])
    worker.wait_for_event("started", count=2)
    clock = Recovery(4.0 + 2.0)
    worker.signal(number)
    assert worker.wait() == 0
    clock.check()
    assert state_of(helpers, short) == "SUCCESS"
    assert state_of(helpers, long) == "WAIT"
    assert helpers.get_new_task_ids() == [long]


@pytest.mark.slow
def test_f17_whatever_a_task_raises_or_returns_ends_it_once_and_its_worker_lives(
    launch: Launch, helpers: Any
) -> None:
    worker = launch()
    ends = {
        "init": "EXCEPTION",
        "start": "EXCEPTION",
        "error": "ERROR",
        "exit": "EXCEPTION",
        "interrupt": "EXCEPTION",
        "base": "EXCEPTION",
        "set": "EXCEPTION",
        "large": "EXCEPTION",
        "deep": "EXCEPTION",
        "none": "SUCCESS",
    }
    ids = {how: helpers.start_task("wrong", how=how) for how in ends}
    unstoppable = helpers.start_task("wrong-stop")
    worker.wait_for_event("started", id=unstoppable)
    helpers.stop_task(unstoppable)
    of_state(helpers, [unstoppable], "STOPPED")
    for how, state in ends.items():
        of_state(helpers, [ids[how]], state)
    assert sorted(helpers.get_end_task_ids()) == sorted(ids.values())
    assert {record_of(helpers, one)["attempts"] for one in ids.values()} == {"1"}
    assert len(record_of(helpers, ids["large"])["output"]) < 1_000_000
    of_state(helpers, [helpers.start_task("echo")], "SUCCESS")
    assert worker.stop() == 0


@pytest.mark.slow
def test_f18_a_worker_without_free_descriptors_keeps_its_leases_and_recovers(
    launch: Launch, helpers: Any, raw: Any
) -> None:
    """The heartbeat has a connection of its own, which stays open."""
    worker = launch(env={"LIMIT_FILES": "60"}, block_seconds=1.0, **STEADY)
    launch(MONITOR, queues=["none"], **STEADY)
    sleeper = helpers.start_task("sleeper")
    worker.wait_for_event("started")
    thief = helpers.start_task("takes-all-files")
    worker.wait_for_event("exhausted")
    # What was connected for waiting, claiming and finishing is gone, and cannot be had again.
    for client in raw.client_list():
        if client["cmd"] in ("blmove", "psubscribe"):
            raw.client_kill_filter(_id=client["id"])
    exhausted_at = float(raw.time()[0])
    worker.wait_for_line("Too many open files")
    wait_until(lambda: float(record_of(helpers, sleeper)["last_update"]) > exhausted_at + 5.0)
    assert record_of(helpers, sleeper)["attempts"] == "1"
    assert "are stopped" not in worker.output
    helpers.stop_task(thief)  # arrives with a beat
    clock = Recovery(5.0)
    of_state(helpers, [thief], "STOPPED")
    of_state(helpers, [helpers.start_task("echo")], "SUCCESS")
    clock.check()
    assert record_of(helpers, sleeper)["attempts"] == "1"
    assert worker.stop() == 0
