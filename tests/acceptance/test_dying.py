"""Workers that die, freeze, fork or choke, and those that carry on."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import FAST, MONITOR, STEADY, Launch, Recovery
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey")


def state_of(helpers: Any, task_id: str) -> str:
    return str(helpers.store.read_record(task_id).get("state"))


@pytest.mark.topologies("valkey", "redis", "cluster")
def test_tasks_of_a_killed_worker_run_elsewhere_within_eight_seconds(
    launch: Launch, helpers: Any
) -> None:
    """With default settings, long before task_timeout."""
    victim = launch(MONITOR)
    ids = helpers.start_tasks([("sleeper", {"seconds": 0, "first": 600})] * 20)
    victim.wait_for_event("started", count=20)
    other = launch(MONITOR)
    recovery = Recovery(8.0)
    victim.kill()
    other.wait_for_event("started", count=20, attempt=2)
    recovery.check()
    for one in ids:
        wait_until(lambda one=one: state_of(helpers, one) == "SUCCESS")
        assert helpers.get_task(one)["attempts"] == "2"


def test_a_frozen_worker_that_wakes_up_changes_nothing(launch: Launch, helpers: Any) -> None:
    zombie = launch(**FAST)
    task_id = helpers.start_task("ticker")
    zombie.wait_for_event("tick")
    other = launch(MONITOR, **FAST)
    zombie.pause()
    other.wait_for_event("tick", attempt=2)
    helpers.stop_task(task_id)
    wait_until(lambda: state_of(helpers, task_id) == "STOPPED")
    record = helpers.get_task(task_id)
    zombie.resume()
    zombie.wait_for_line("is not ours any more")
    zombie.wait_for_event("last tick")
    assert zombie.stop() == 0
    assert zombie.events[-1]["event"] == "returned" and ticks(zombie)[-1]["attempt"] == 1
    assert helpers.get_task(task_id) == record


def ticks(worker: Any) -> list[Any]:
    return [one for one in worker.events if one["event"] == "tick"]


def test_a_worker_that_is_frozen_for_a_moment_keeps_its_tasks(launch: Launch, helpers: Any) -> None:
    worker = launch(MONITOR)
    (task_id,) = helpers.start_tasks([("ticker", {})])
    worker.wait_for_event("tick")
    worker.pause()
    time.sleep(2.5)
    worker.resume()
    before = len(ticks(worker))
    wait_until(lambda: len(ticks(worker)) > before + 50)
    assert helpers.get_task(task_id)["attempts"] == "1"
    assert "stopped" not in worker.output


def test_a_stop_given_to_a_frozen_worker_is_obeyed_when_it_wakes(
    launch: Launch, helpers: Any
) -> None:
    worker = launch()
    (task_id,) = helpers.start_tasks([("sleeper", {})])
    worker.wait_for_event("started")
    worker.pause()
    helpers.stop_task(task_id)
    time.sleep(0.5)
    worker.resume()
    wait_until(lambda: state_of(helpers, task_id) == "STOPPED")


def test_a_task_that_kills_its_workers_becomes_a_dead_letter(launch: Launch, helpers: Any) -> None:
    (task_id,) = helpers.start_tasks([("poison", {})])
    deaths = 0
    keeper = launch(MONITOR, queues=["none"], **FAST)
    while state_of(helpers, task_id) != "EXCEPTION":
        assert deaths < 6, helpers.get_task(task_id)
        victim = launch(wait=False, **FAST)
        wait_until(
            lambda victim=victim: not victim.running or state_of(helpers, task_id) == "EXCEPTION",
        )
        deaths += not victim.running
        wait_until(lambda: state_of(helpers, task_id) != "RUNNING")
    assert deaths == 3
    record = helpers.get_task(task_id)
    assert "poison" in record["output"] or "worker" in record["output"]
    (other,) = helpers.start_tasks([("sleeper", {"seconds": 0})])
    launch(**FAST)
    wait_until(lambda: state_of(helpers, other) == "SUCCESS")
    assert keeper.running


def test_a_worker_without_redis_stops_its_tasks_and_goes_on_later(
    valkey_server: Any, proxy: Any, launch: Launch, helpers: Any
) -> None:
    relay = proxy(valkey_server)
    worker = launch(at=relay.url, redis_grace=3.0, worker_timeout=15.0)
    (task_id,) = helpers.start_tasks([("ticker", {})])
    worker.wait_for_event("tick")
    relay.black_hole()
    cut_at = time.time()
    worker.wait_for_line("running tasks are stopped")
    worker.wait_for_event("last tick")
    # Before a Monitor may give it to others.
    assert ticks(worker)[-1]["at"] - cut_at < 15.0
    relay.allow()
    worker.wait_for_event("tick", attempt=2)
    worker.wait_for_line("Redis answers again")
    helpers.stop_task(task_id)
    wait_until(lambda: state_of(helpers, task_id) == "STOPPED")
    assert worker.stop() == 0


def test_a_stuck_hub_loses_its_tasks_to_others(
    launch: Launch, helpers: Any, tmp_path: Path
) -> None:
    stuck = launch(hub_stall_timeout=1.0, **FAST)
    (sleeper,) = helpers.start_tasks([("sleeper", {"seconds": 0, "first": 600})])
    stuck.wait_for_event("started")
    helpers.start_tasks([("computes", {"seconds": 80, "file": str(tmp_path / "enough")})])
    stuck.wait_for_event("computing")
    other = launch(MONITOR, **FAST)
    other.wait_for_event("started", id=sleeper, attempt=2)
    (tmp_path / "enough").touch()
    wait_until(lambda: state_of(helpers, sleeper) == "SUCCESS")
    stuck.wait_for_line("the hub has been stuck")
    stuck.wait_for_line("is not ours any more")
    assert stuck.stop() == 0


def test_a_hub_that_is_busy_for_less_keeps_all_leases(launch: Launch, helpers: Any) -> None:
    worker = launch(**STEADY)
    (sleeper,) = helpers.start_tasks([("sleeper", {})])
    worker.wait_for_event("started")
    launch(MONITOR, queues=["none"], **STEADY)
    helpers.start_tasks([("computes", {"seconds": STEADY["worker_timeout"] + 2.0})])
    worker.wait_for_event("computed")
    assert helpers.get_task(sleeper)["attempts"] == "1"
    assert state_of(helpers, sleeper) == "RUNNING"


def test_a_forked_child_does_nothing_for_its_parent(launch: Launch, helpers: Any) -> None:
    worker = launch(**FAST)
    (ticker,) = helpers.start_tasks([("ticker", {})])
    worker.wait_for_event("tick")
    (forks,) = helpers.start_tasks([("forks", {})])
    child = worker.wait_for_event("forked")["child"]
    helpers.start_tasks([("sleeper", {"seconds": 0})] * 20)
    worker.wait_for_event("child", pid=child)
    wait_until(lambda: state_of(helpers, forks) == "SUCCESS")
    # Each tick and each start comes from the parent: the child's copies were ended.
    assert {one["pid"] for one in ticks(worker)} == {worker.pid}
    starts = [one["id"] for one in worker.events if one["event"] == "started"]
    assert len(starts) == len(set(starts)) == 20
    assert state_of(helpers, ticker) == "RUNNING"
    assert worker.stop() == 0


def test_what_was_about_to_go_on_when_a_task_forked_does_not_go_on_in_the_child(
    address: Any, namespace: Any, worker_process: Any
) -> None:
    """All are due in one turn of the hub, behind the one that forks; one refuses to end."""
    script = """
        from gevent import monkey
        monkey.patch_all()
        import json, os, sys, time

        from pytask import PyTask, Task
        from tests.support.tell import tell

        due = time.monotonic() + 1.0

        class Sleeps(Task):
            NAME = "sleeps"

            def start(self):
                time.sleep(due + 0.1 - time.monotonic())
                tell("woke", id=self.id, pid=os.getpid())

        class Forks(Task):
            NAME = "forks"

            def start(self):
                time.sleep(due - time.monotonic())
                child = os.fork()
                if child == 0:
                    time.sleep(0.5)
                    tell("child", pid=os.getpid())
                    os._exit(0)
                tell("forked", child=child)

        class Deaf(Task):
            NAME = "deaf"

            def start(self):
                while True:
                    try:
                        time.sleep(60)
                    except BaseException:
                        pass

        class Hog(Task):
            NAME = "hog"

            def start(self):
                time.sleep(due - 0.2 - time.monotonic())
                while time.monotonic() < due + 0.2:
                    pass

        app = PyTask(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
        app.add_tasks(Deaf, Sleeps, Forks, Hog)
        for name in ["hog", "deaf", "forks"] + ["sleeps"] * 20:
            app.start_local_task(name)
        app.run()
    """
    worker = worker_process(script, [json.dumps(address), namespace.options])
    child = worker.wait_for_event("forked")["child"]
    worker.wait_for_event("child", pid=child)
    worker.wait_for_event("woke", count=20)
    woke = [one["pid"] for one in worker.events if one["event"] == "woke"]
    assert set(woke) == {worker.pid}
    assert worker.stop() == 0


def test_a_forked_child_dies_by_a_signal_as_any_process(launch: Launch, helpers: Any) -> None:
    worker = launch(**FAST)
    (task_id,) = helpers.start_tasks([("forks", {"lasts": 600})])
    child = worker.wait_for_event("forked")["child"]
    os.kill(child, signal.SIGTERM)
    wait_until(lambda: state_of(helpers, task_id) == "SUCCESS")
    assert worker.running
    assert "no more tasks are taken" not in worker.output


def test_a_signal_that_comes_before_the_first_line_of_a_forked_child_ends_it(
    address: Any, namespace: Any, worker_process: Any
) -> None:
    script = """
        from gevent import monkey
        monkey.patch_all()
        import json, os, signal, sys

        # Registered before those of pytask, so it runs before them.
        signalled = lambda: os.kill(os.getpid(), signal.SIGTERM)
        os.register_at_fork(after_in_child=signalled)

        from pytask import PyTask, Task
        from tests.support.tell import tell

        class Forks(Task):
            NAME = "forks"

            def start(self):
                before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
                child = os.fork()
                if child == 0:
                    tell("child lives")
                    os._exit(0)
                assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
                tell("died", by=os.WTERMSIG(os.waitpid(child, 0)[1]))

        app = PyTask(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
        app.add_task(Forks)
        app.start_local_task("forks")
        app.run()
    """
    worker = worker_process(script, [json.dumps(address), namespace.options])
    worker.wait_for_event("died", by=signal.SIGTERM)
    assert "child lives" not in worker.output
    assert worker.stop() == 0
