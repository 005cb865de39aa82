"""F36 and F39: sentinels that make another server the master, and what such a change may undo."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.faults.account import TUNED, Client, client, wait_ended_once
from tests.faults.conftest import MONITOR, Launch, Recovery, of_state, state_of
from tests.support.sentinels import Sentinels
from tests.support.servers import Server
from tests.support.waiting import wait_until

__all__ = ["client"]  # a fixture

pytestmark = [pytest.mark.topologies("valkey"), pytest.mark.slow]


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    """Three sentinels and three servers; a master refuses writes while it has no replica."""
    with Sentinels(replicas=2, min_replicas_to_write=1, min_replicas_max_lag=3) as group:
        yield group


def test_f36_after_a_failover_by_sentinels_workers_find_the_new_master(
    launch: Launch, client: Client, sentinels: Sentinels
) -> None:
    helpers = client(sentinels.url, redis_patience=20.0)
    worker = launch(MONITOR, at=sentinels.url)
    ids = helpers.start_tasks([("sleeper", {"seconds": 6})] * 10)
    worker.wait_for_event("started", count=10)
    assert sentinels.master.command("WAIT", 2, 2000) == 2

    # By command: for some seconds there are two masters. The old one has lost its replicas, so it
    # refuses writes that would vanish with it; then it is demoted and answers READONLY.
    old = sentinels.master
    sentinels.failover()
    wait_until(lambda: of_replication(old, "connected_slaves") == "0")
    recovery = Recovery(2.0)
    ids.append(helpers.start_task("echo"))
    of_state(helpers, [ids[-1]], "SUCCESS")
    recovery.check()
    wait_ended_once(helpers, ids)
    assert {helpers.get_task(one, "attempts") for one in ids} == {"1"}
    wait_until(lambda: of_replication(old, "master_link_status") == "up")

    # Frozen: connections stay open and nothing answers, until it comes back as a replica.
    late = helpers.start_tasks([("sleeper", {"seconds": 0, "first": 600})] * 10)
    worker.wait_for_event("started", count=20)
    frozen = sentinels.master
    assert frozen.command("WAIT", 2, 2000) == 2
    frozen.pause()
    sentinels.wait_promoted(frozen)
    recovery = Recovery(8.0)
    of_state(helpers, [helpers.start_task("echo", "after")], "SUCCESS")
    recovery.check()
    frozen.resume()
    wait_until(lambda: of_replication(frozen, "role") == "slave")
    # Those that outlasted the outage within redis_grace still sleep.
    wait_until(lambda: states(helpers, late) in ({"RUNNING"}, {"SUCCESS"}))
    of_state(helpers, [helpers.start_task("echo", "last")], "SUCCESS")
    assert state_of(helpers, "after") == "SUCCESS"


def of_replication(server: Server, field: str) -> str | None:
    """Return what a server says of its place in the group.

    Sentinels that give it another place cut all its connections, ours as well.
    """
    try:
        return server.info("replication").get(field)
    except redis.RedisError:
        return None


def states(helpers: Any, ids: list[str]) -> set[str]:
    return {state_of(helpers, one) for one in ids}


def test_f39_of_two_runs_after_a_failover_that_undid_a_claim_one_is_accepted(
    launch: Launch, client: Client
) -> None:
    with Sentinels(replicas=1) as sentinels:
        helpers = client(sentinels.url, redis_patience=20.0)
        task_id = helpers.start_task("outcome", seconds=5)
        master = sentinels.master
        (replica,) = [node for node in sentinels.nodes if node is not master]
        assert master.command("WAIT", 1, 2000) == 1
        # The claim is confirmed by a server whose replica hears nothing, and which dies then.
        replica.pause()
        master.command("CLIENT", "KILL", "TYPE", "replica")
        first = launch(at=sentinels.url, program=TUNED)
        token = first.wait_for_event("outcome", id=task_id)["token"]
        undone = helpers.start_task("echo")
        first.pause()
        master.kill()
        replica.resume()
        sentinels.wait_promoted(master)
        assert state_of(helpers, task_id) == "WAIT"
        second = launch(MONITOR, at=sentinels.url, program=TUNED)
        again = second.wait_for_event("outcome", id=task_id)["token"]
        first.resume()
        # The counter came back with the data; what follows it did not.
        assert token.partition("-")[0] == again.partition("-")[0] == "1"
        assert token != again
        first.wait_for_line(f"task {task_id} .* is not ours any more")
        wait_ended_once(helpers, [task_id])
        assert helpers.get_task(task_id, ["output", "done_run"]) == [f'"{again}"', again]
        # What no replica had is lost, and that is said; min-replicas-to-write bounds it.
        assert helpers.get_task(undone) == {}
