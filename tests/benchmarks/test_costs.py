"""What a task costs, by counts that no busy machine changes: commands, round-trips, bytes, blocks.

Each bound is what it takes today and a little more. A change that needs more has to raise it here,
in sight of whoever reads the change.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.harness import Bench, Place
from pytask.records import Claimed, NewTask, Outcome, new_task_id
from pytask.states import State
from pytask.store.calls import Counted
from tests.support.waiting import wait_until

MANY = 2_000
#: Commands by which a reading of the counters raises them.
OWN = 4


class Costs:
    """Counts what happens on a server of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.helpers = place.helpers
        self.names = place.helpers.keys.partitions[0]
        self.link = Counted(place.helpers.link)
        self.store = place.helpers.store.using(self.link)
        # The first of everything loads scripts and makes keys.
        self.finish(self.claim(self.enqueue(10)))

    def enqueue(self, count: int, delay: float = 0.0) -> int:
        self.store.enqueue(
            [NewTask(new_task_id(), "bench/noop", b"{}", delay=delay) for _ in range(count)]
        )
        return count

    def claim(self, count: int) -> list[Claimed]:
        claimed: list[Claimed] = []
        while len(claimed) < count:
            claimed += self.store.claim(
                0, worker="w", queues=["default"], limit=200, request=new_task_id()
            ).claimed
        return claimed

    def finish(self, claimed: list[Claimed]) -> None:
        self.store.finish(
            0, [Outcome(one.task_id, one.token, State.SUCCESS, b"1") for one in claimed]
        )

    def memory(self) -> int:
        return int(self.place.server.info("memory")["used_memory"])

    @contextmanager
    def counted(self) -> Iterator[dict[str, float]]:
        """Fill in, at the end, the commands and the scripts sent."""
        found: dict[str, float] = {}
        before, attempts = sum(self.place.calls().values()), self.link.attempts
        yield found
        # Asking takes a connection, and commands of its own.
        found["commands"] = sum(self.place.calls().values()) - before - OWN
        found["round_trips"] = self.link.attempts - attempts


@pytest.fixture
def costs() -> Iterator[Costs]:
    with Bench("valkey", True, 1, print).place() as place:
        yield Costs(place)


def test_one_task_is_started_with_one_round_trip(costs: Costs) -> None:
    with costs.counted() as found:
        for _ in range(100):
            costs.enqueue(1)
    assert found["round_trips"] == 100
    assert found["commands"] / 100 <= 7.2


def test_a_task_that_comes_alone_is_claimed_and_ended_with_one_round_trip_each(
    costs: Costs,
) -> None:
    costs.enqueue(100)
    claimed: list[Claimed] = []
    with costs.counted() as found:
        for _ in range(100):
            claimed += costs.store.claim(
                0, worker="w", queues=["default"], limit=1, request=new_task_id()
            ).claimed
    assert (len(claimed), found["round_trips"]) == (100, 100)
    assert found["commands"] / 100 <= 16.2
    with costs.counted() as found:
        for one in claimed:
            costs.finish([one])
    assert found["round_trips"] == 100
    assert found["commands"] / 100 <= 13.2


def test_many_tasks_share_round_trips_and_take_few_commands_each(costs: Costs) -> None:
    claimed: list[Claimed] = []
    steps: dict[str, tuple[Callable[[], Any], int, float]] = {
        "enqueue": (lambda: costs.enqueue(MANY), 400, 1.1),
        "claim": (lambda: claimed.extend(costs.claim(MANY)), 200, 3.15),
        "heartbeat": (
            lambda: costs.store.heartbeat(0, [(one.task_id, one.token) for one in claimed]),
            500,
            2.05,
        ),
        "finish": (lambda: costs.finish(claimed), 200, 4.1),
    }
    for step, (act, tasks_per_trip, commands_per_task) in steps.items():
        with costs.counted() as found:
            act()
        assert found["round_trips"] <= MANY / tasks_per_trip, step
        assert found["commands"] / MANY <= commands_per_task, (step, found)


def test_a_task_takes_few_bytes_of_redis_in_every_stage(costs: Costs) -> None:
    count = 5 * MANY
    sizes, before = {}, costs.memory()
    costs.enqueue(count)
    sizes["waiting"] = costs.memory() - before
    claimed = costs.claim(count)
    sizes["running"] = costs.memory() - before
    costs.finish(claimed)
    sizes["ended"] = costs.memory() - before
    bounds = {"waiting": 250, "running": 510, "ended": 430}
    found = {stage: size / count for stage, size in sizes.items()}
    assert all(found[stage] <= bound for stage, bound in bounds.items()), found


def test_a_look_that_finds_nothing_takes_few_commands(costs: Costs) -> None:
    costs.enqueue(MANY, delay=3600)
    looks: dict[str, tuple[Callable[[], Any], int]] = {
        "promote": (lambda: costs.store.promote(0), 3),
        "claim": (
            lambda: costs.store.claim(
                0, worker="w", queues=["default"], limit=200, request=new_task_id()
            ),
            4,
        ),
        "beat": (lambda: costs.store.beat_worker("w", {"running": "0"}), 7),
        "registry": (lambda: costs.store.read_workers(5.0), 3),
        "brief beat": (lambda: costs.store.beat_worker("w", None), 3),
        "idle claimer": (
            lambda: costs.store.may_claim(0, worker="w", queues=["default", "mail"]),
            1,
        ),
        "idle promoter": (lambda: costs.store.has_delayed(0), 1),
        "Monitor": (costs.store.read_oldest_beat, 1),
    }
    for name, (look, most) in looks.items():
        look()
        tries = []
        for _ in range(3):
            with costs.counted() as found:
                look()
            tries.append(found)
        # A connection that is made anew, on a slow machine, has commands of its own.
        assert min(found["round_trips"] for found in tries) <= 1, (name, tries)
        assert min(found["commands"] for found in tries) <= most, (name, tries)


def test_a_worker_runs_a_task_with_few_commands(costs: Costs) -> None:
    names = costs.names
    costs.place.worker()
    before = costs.place.client.llen(names.end_queue)
    costs.helpers.start_tasks({"task": "bench/noop", "queue": "held"} for _ in range(MANY))
    with costs.counted() as found:
        costs.place.client.rename(names.new_queue("held"), names.new_queue())
        # A timer here and there, and our own looks, which are far apart.
        wait_until(
            lambda: costs.place.client.llen(names.end_queue) - before >= MANY, 60, interval=0.2
        )
    assert found["commands"] / MANY <= 7.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("local", "sent", "carried_out"),
    [([], 4.5, 8.0), (["pytask/monitor", "pytask/cleanup"], 10.0, 20.0)],
    ids=["alone", "monitor-and-cleanup"],
)
def test_an_idle_worker_takes_few_commands_between_two_beats(
    costs: Costs, local: list[str], sent: float, carried_out: float
) -> None:
    """At rest a beat comes each 2.5 s; some of the seven intervals have a check of the Monitor."""
    costs.place.worker(local=local)
    helpers, beats = costs.helpers, -2
    helpers.connector.close()
    found = {"sent": 0, "carried out": 0}
    with costs.place.client.monitor() as monitor:
        while beats < 7:
            seen = monitor.next_command()
            is_beat = seen["command"].startswith(f"ZADD {helpers.keys.workers} ")
            beats += is_beat
            if beats >= 0:
                found["carried out"] += 1
                found["sent"] += seen["client_type"] != "lua"
    assert found["sent"] / 7 <= sent, found
    assert found["carried out"] / 7 <= carried_out, found


SLEEPERS = """
    from gevent import monkey
    monkey.patch_all()
    import sys, time
    from pytask import PyTask, Task

    class Sleep(Task):
        NAME = "sleep"
        def start(self):
            time.sleep(3600)

    class Blocks(Task):
        NAME = "blocks"
        def start(self):
            return sys.getallocatedblocks()

    app = PyTask(sys.argv[1], concurrency=3000)
    app.add_tasks(Sleep, Blocks)
    app.run()
"""


def test_a_sleeping_task_takes_few_allocations_in_its_worker(
    costs: Costs, worker_process: Any
) -> None:
    # Coverage allocates for each greenlet as well.
    unmeasured = {name: "" for name in os.environ if "COVERAGE" in name}
    worker_process(SLEEPERS, [costs.place.server.url], **unmeasured)
    helpers = costs.helpers

    def blocks() -> int:
        task_id = helpers.start_task("blocks", cleanup=False)
        return int(helpers.future(task_id).result(timeout=60))

    def sleep(count: int) -> None:
        there = costs.place.client.zcard(costs.names.leases)
        helpers.start_tasks(("sleep", {}) for _ in range(count))
        wait_until(lambda: costs.place.client.zcard(costs.names.leases) >= there + count, 60)

    sleep(500)  # what grows with the first ones only
    before = blocks()
    sleep(MANY)
    assert (blocks() - before) / MANY <= 26
