"""F15: many tasks that kill their worker, among as many that do not."""

import time
from collections import Counter
from typing import Any

import pytest

from tests.faults.conftest import FAST, MONITOR, Launch, of_state, record_of, state_of

pytestmark = pytest.mark.topologies("valkey")


def keep_alive(launch: Launch, workers: list[Any], **options: Any) -> int:
    """Start those workers again that have ended; return how many."""
    dead = [index for index, worker in enumerate(workers) if not worker.running]
    for index in dead:
        workers[index] = launch(wait=False, **FAST, **options)
    return len(dead)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("poison", "concurrency"),
    [
        pytest.param(4, 1, id="half-of-all-one-at-a-time"),
        pytest.param(1, 100, id="one-among-many-side-by-side"),
    ],
)
def test_f15_tasks_that_kill_their_workers_cost_no_other_task_its_life(
    launch: Launch, helpers: Any, poison: int, concurrency: int
) -> None:
    """And each kills three workers, no more."""
    launch(MONITOR, queues=["none"], **FAST)
    good, bad = [], []
    for number in range(max(8, concurrency)):
        if len(bad) < poison and number % 2:
            bad.append(helpers.start_task("deadly", how="exit"))
        else:
            good.append(helpers.start_task("echo", seconds=0.2))
    workers = [launch(wait=False, concurrency=concurrency, **FAST) for _ in range(4)]
    kills = 0
    deadline = time.monotonic() + 60
    while any(state_of(helpers, one) in ("WAIT", "RUNNING") for one in [*good, *bad]):
        kills += keep_alive(launch, workers, concurrency=concurrency)
        assert time.monotonic() < deadline, "all tasks have ended"
        time.sleep(0.05)
    kills += keep_alive(launch, workers, concurrency=concurrency)
    assert {record_of(helpers, one)["reaps"] for one in bad} == {"3"}
    assert kills == 3 * poison
    assert Counter(state_of(helpers, one) for one in good) == {"SUCCESS": len(good)}
    of_state(helpers, [helpers.start_task("echo") for _ in range(20)], "SUCCESS", 5)
