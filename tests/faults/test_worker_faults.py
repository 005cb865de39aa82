"""F1 to F9: workers that are killed or paused at the worst instants."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pytask.scripts import load
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

#: From a kill to the next start of its tasks: worker_timeout, two looks of the Monitor (every
#: second), and a second to start them.
SOON = FAST["worker_timeout"] + 3.0
STEADILY = STEADY["worker_timeout"] + 3.0

Dump = Callable[[], dict[str, Any]]


def keeper(launch: Launch, **options: Any) -> Any:
    """Start a worker that looks after the others and takes no tasks."""
    return launch(MONITOR, queues=["none"], **FAST, **options)


def worker_of(process: Any) -> str:
    return str(process.wait_for_event("ready")["worker"])


def is_known(helpers: Any, worker: str) -> bool:
    return any(one.worker == worker for one in helpers.store.list_workers())


def crash(launch: Launch, helpers: Any, point: str) -> tuple[str, Recovery]:
    """Let a worker die at a point of its first task; return the task and a clock."""
    victim = launch(env={"CRASH_AT": point}, **FAST)
    task_id = helpers.start_task("echo", value="x")
    assert victim.wait() < 0, "it was killed"
    assert victim.wait_for_event("crashing")["at"] == point
    return task_id, Recovery(SOON)


@pytest.mark.slow
def test_f01_a_worker_that_is_killed_while_idle_leaves_nothing(
    launch: Launch, helpers: Any, dump: Dump
) -> None:
    """``Monitor._bury`` forgets it."""
    other = launch(MONITOR, **STEADY)
    before = set(dump())
    victim = launch(**STEADY)
    name = worker_of(victim)
    wait_until(lambda: is_known(helpers, name))
    clock = Recovery(STEADILY + STEADY["worker_timeout"] + 1.0)
    victim.kill()
    # It stays listed until all its leases must have been reaped: 2 worker_timeouts and a look.
    wait_until(lambda: not is_known(helpers, name), 5 * STEADILY)
    clock.check()
    wait_until(lambda: set(dump()) == before and name not in str(dump()))
    assert [one.worker for one in helpers.store.list_workers()] == [worker_of(other)]
    of_state(helpers, [helpers.start_task("echo")], "SUCCESS")


def test_f02_an_id_whose_worker_dies_between_move_and_claim_goes_back_and_runs_once(
    launch: Launch, helpers: Any, dump: Dump, namespace: Any
) -> None:
    """``Monitor._bury`` returns claim lists; BRPOP instead of BLMOVE would lose the ID."""
    keeper(launch)
    task_id, clock = crash(launch, helpers, "after_move")
    lists = {key: value for key, value in dump().items() if ":claim:" in key}
    assert list(lists.values()) == [[task_id]]
    assert state_of(helpers, task_id) == "WAIT"
    wait_until(lambda: helpers.get_new_task_ids() == [task_id], 5 * SOON)
    clock.check()
    taker = launch(**FAST)
    of_state(helpers, [task_id], "SUCCESS")
    assert [(one["id"], one["attempt"]) for one in echoes(taker)] == [(task_id, 1)]


def test_f03_a_task_whose_worker_dies_before_its_first_line_runs_elsewhere(
    launch: Launch, helpers: Any
) -> None:
    keeper(launch)
    task_id, clock = crash(launch, helpers, "after_claim")
    taker = launch(**FAST)
    taker.wait_for_event("echo", id=task_id, attempt=2)
    clock.check()
    of_state(helpers, [task_id], "SUCCESS")
    assert record_of(helpers, task_id)["attempts"] == "2"


@pytest.mark.slow
def test_f04_a_thousand_tasks_of_a_killed_worker_run_elsewhere_and_no_other_is_touched(
    launch: Launch, helpers: Any
) -> None:
    victim = launch(concurrency=1000, **STEADY)
    ids = helpers.start_tasks([("sleeper", {"seconds": 0, "first": 600})] * 1000)
    victim.wait_for_event("started", count=1000)
    other = launch(MONITOR, concurrency=2000, queues=["default", "own"], **STEADY)
    own = [helpers.submit("sleeper", {}, queue="own").id for _ in range(50)]
    other.wait_for_event("started", count=50)
    clock = Recovery(STEADILY + 1.0)  # a thousand events and starts, on a machine with others
    victim.kill()
    wait_until(lambda: other.output.count('"attempt": 2') >= 1000, 60)
    clock.check()
    of_state(helpers, ids, "SUCCESS", 60)
    assert {record_of(helpers, one)["attempts"] for one in ids} == {"2"}
    assert {record_of(helpers, one)["attempts"] for one in own} == {"1"}
    of_state(helpers, own, "RUNNING")
    assert len(events_of(other, "started", attempt=2)) == 1000


def test_f05_a_task_whose_worker_dies_between_effect_and_report_runs_again_and_ends_once(
    launch: Launch, helpers: Any
) -> None:
    keeper(launch)
    task_id, clock = crash(launch, helpers, "before_finish")
    assert state_of(helpers, task_id) == "RUNNING"
    taker = launch(**FAST)
    taker.wait_for_event("echo", id=task_id, attempt=2)
    clock.check()
    of_state(helpers, [task_id], "SUCCESS")
    assert helpers.get_end_task_ids() == [task_id]


@pytest.mark.slow
def test_f06_a_task_whose_worker_dies_before_it_hears_that_it_has_finished_stays_ended(
    launch: Launch, helpers: Any, proxy: Any, valkey_server: Any
) -> None:
    relay = proxy(valkey_server)
    victim = launch(at=relay.url, **STEADY)
    of_state(helpers, [helpers.start_task("echo", task_id="first")], "SUCCESS")
    relay.swallow_replies(request=load("finish").sha.encode())
    task_id = helpers.start_task("echo", value=7)
    of_state(helpers, [task_id], "SUCCESS")
    wait_until(lambda: relay.counts["swallowed"])
    record = record_of(helpers, task_id)
    other = launch(MONITOR, **STEADY)
    name = worker_of(victim)
    victim.kill()
    wait_until(lambda: not is_known(helpers, name), 5 * STEADILY)
    assert record_of(helpers, task_id) == record
    assert sorted(helpers.get_end_task_ids()) == sorted(["first", task_id])
    assert echoes(other) == []


def test_f07_a_worker_paused_for_longer_than_its_lease_writes_nothing(
    launch: Launch, helpers: Any
) -> None:
    """Its task is over when it wakes, and what it reports is refused: finish.lua, check_token."""
    zombie = launch(**STEADY)
    # Over at 3 s, when the worker is paused.
    task_id = helpers.start_task("sleeper", first=3.0, seconds=0)
    ticker = helpers.start_task("ticker")
    zombie.wait_for_event("tick")
    zombie.wait_for_event("started")
    zombie.pause()
    other = launch(MONITOR, **STEADY)
    other.wait_for_event("tick", attempt=2)
    of_state(helpers, [task_id], "SUCCESS")
    record = record_of(helpers, task_id)
    assert record["output"] == str(other.pid)
    zombie.resume()
    zombie.wait_for_line(f"task {task_id} .* is not ours any more")
    zombie.wait_for_line(f"task {ticker} .* is not ours any more")
    of_state(helpers, [helpers.start_task("echo") for _ in range(20)], "SUCCESS")
    assert record_of(helpers, task_id) == record
    assert helpers.get_end_task_ids().count(task_id) == 1
    assert record_of(helpers, ticker)["attempts"] == "2"
    assert zombie.stop() == 0


@pytest.mark.slow
def test_f08_a_worker_paused_for_less_than_its_lease_keeps_its_tasks(
    launch: Launch, helpers: Any, raw: Any
) -> None:
    options = {**FAST, "worker_timeout": 5.0, "redis_grace": 4.0}
    worker = launch(**options)
    task_id = helpers.start_task("ticker")
    worker.wait_for_event("tick")
    launch(MONITOR, **options)
    worker.pause()
    time.sleep(1.5)
    worker.resume()
    woken_at = float(raw.time()[0])
    # Long enough for a Monitor to have taken it, had it wanted to.
    wait_until(lambda: float(record_of(helpers, task_id).get("last_update", 0)) > woken_at + 5.0)
    assert record_of(helpers, task_id)["attempts"] == "1"
    assert "are stopped" not in worker.output
    assert "is not ours any more" not in worker.output


def test_f09_stop_and_reload_given_to_a_paused_worker_arrive_although_the_messages_are_lost(
    launch: Launch, helpers: Any, raw: Any
) -> None:
    """They are in the records, and come with the next beat: ``BeatReader._apply``."""
    worker = launch()
    to_stop, to_reload = helpers.start_tasks([("sleeper", {})] * 2)
    worker.wait_for_event("started", count=2)
    worker.pause()
    raw.client_kill_filter(_type="pubsub")
    helpers.stop_task(to_stop)
    helpers.reload_task(to_reload)
    time.sleep(0.5)
    clock = Recovery(5.0 + 1.0)  # update_task_interval
    worker.resume()
    worker.wait_for_event("started", id=to_reload, count=2)
    of_state(helpers, [to_stop], "STOPPED")
    clock.check()
    assert record_of(helpers, to_reload)["attempts"] == "1"


def echoes(worker: Any) -> list[dict[str, Any]]:
    return events_of(worker, "echo")


def events_of(worker: Any, name: str, **values: Any) -> list[dict[str, Any]]:
    wanted = {"event": name, **values}
    return [one for one in worker.events if wanted.items() <= one.items()]
