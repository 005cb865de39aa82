"""Limits and locks of a fleet of two workers, one of which is killed."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import MONITOR, STEADY, Launch
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey")


@pytest.fixture(scope="module")
def program() -> str:
    return str(Path(__file__).with_name("limits_program.py"))


def state_of(helpers: Any, task_id: str) -> str:
    return str(helpers.store.read_record(task_id).get("state"))


def wait_for_success(helpers: Any, ids: list[str]) -> None:
    for one in ids:
        wait_until(lambda one=one: state_of(helpers, one) == "SUCCESS")


def most_at_a_time(*workers: Any) -> int:
    """How many runs had effects at the same time, from the first effect of each to its last."""
    spans: dict[str, list[float]] = {}
    for worker in workers:
        for event in worker.events:
            if event["event"] == "effect":
                spans.setdefault(event["token"], []).append(event["at"])
    moments = [(min(times), 1) for times in spans.values()]
    moments += [(max(times), -1) for times in spans.values()]
    count = most = 0
    for _, step in sorted(moments):
        count += step
        most = max(most, count)
    return most


@pytest.mark.topologies("valkey", "cluster")
@pytest.mark.slow
def test_a_killed_worker_gives_its_permits_up_and_the_limit_holds(
    launch: Launch, helpers: Any
) -> None:
    victim = launch(MONITOR, **STEADY)
    ids = helpers.start_tasks([("gated", {"seconds": 0.1, "first": 600})] * 2)
    victim.wait_for_event("began", count=2)
    other = launch(MONITOR, **STEADY)
    ids += helpers.start_tasks([("gated", {"seconds": 0.1})] * 6)
    pool = "limit:gated"
    waiting = helpers.keys.of(pool).waiting(pool)
    wait_until(lambda: helpers.store._link.execute("ZCARD", waiting) == 6)
    victim.kill()
    wait_for_success(helpers, ids)
    assert most_at_a_time(victim, other) == 2
    attempts = [helpers.get_task(one)["attempts"] for one in ids]
    assert attempts == ["2"] * 2 + ["1"] * 6


@pytest.mark.slow
def test_a_frozen_worker_has_stopped_before_it_can_do_harm_beside_another(
    launch: Launch, helpers: Any
) -> None:
    frozen = launch(MONITOR, **STEADY)
    (first,) = helpers.start_tasks([("per-account", {"account": "a", "seconds": 1, "first": 600})])
    frozen.wait_for_event("effect")
    other = launch(MONITOR, **STEADY)
    second = helpers.start_task("per-account", account="a", seconds=600)
    frozen.pause()
    other.wait_for_event("effect")
    before = len(frozen.events)
    frozen.resume()
    frozen.wait_for_line("could not be renewed|is not ours any more|permit .* is lost")
    count = len(other.events)
    other.wait_for_event("effect", count=count + 30)
    # It cannot know in the very instant in which it goes on. Nothing else would end it.
    assert len(frozen.events) - before < 200
    helpers.stop_task(second)
    helpers.stop_task(first)
    for one in (first, second):
        wait_until(lambda one=one: state_of(helpers, one) in ("STOPPED", "SUCCESS"))


@pytest.mark.slow
def test_a_killed_worker_frees_its_lock_and_the_fence_grows(launch: Launch, helpers: Any) -> None:
    victim = launch(MONITOR, **STEADY)
    helpers.start_task("locked", seconds=600)
    first = victim.wait_for_event("locked")
    victim.kill()
    with helpers.lock("door") as lock:
        assert lock.fence > first["fence"]


@pytest.mark.slow
def test_two_workers_share_one_limit(launch: Launch, helpers: Any) -> None:
    workers = [launch(**STEADY) for _ in range(2)]
    ids = helpers.start_tasks([("gated", {"seconds": 0.05})] * 24)
    wait_for_success(helpers, ids)
    assert most_at_a_time(*workers) == 2
