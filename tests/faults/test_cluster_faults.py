"""F32, F37 and F38: a cluster that loses masters, whole shards, its mind, or moves slots."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from tests.faults.account import Client, client, producing, wait_ended_once
from tests.faults.conftest import FAST, MONITOR, Launch, Recovery, of_state
from tests.support.cluster import Cluster, slot_of
from tests.support.servers import Server
from tests.support.waiting import wait_until

__all__ = ["client"]  # a fixture

pytestmark = [pytest.mark.topologies("valkey"), pytest.mark.slow]

NODE_TIMEOUT = 1.0


@pytest.fixture(scope="module")
def pairs() -> Iterator[Cluster]:
    """Three masters with a replica each, for tests that leave them in order."""
    with Cluster(masters=3, replicas=1, node_timeout=int(NODE_TIMEOUT * 1000)) as cluster:
        yield cluster


def ids_of(helpers: Any, partition: int, count: int, prefix: str = "id") -> list[str]:
    """Make IDs that live in one partition."""
    ids: list[str] = []
    number = 0
    while len(ids) < count:
        task_id = f"{prefix}{number}"
        number += 1
        if helpers.keys.partition_of(task_id) == partition:
            ids.append(task_id)
    return ids


def owner_of(cluster: Cluster, helpers: Any, partition: int) -> Server:
    return cluster.owner_of(helpers.keys.partitions[partition].new_queue())


def partition_elsewhere(cluster: Cluster, helpers: Any, master: Server) -> int:
    """Return a partition that another master serves."""
    return next(
        number
        for number in range(len(helpers.keys.partitions))
        if owner_of(cluster, helpers, number) is not master
    )


#: Seconds until the shard serves again. A frozen server sends nothing, so its silence counts only
#: when a reply is overdue (5 s), and a worker may ask for the first time after block_seconds.
BOUNDS = {"killed": NODE_TIMEOUT + 3.0, "frozen": 8.0, "failover": 1.0, "takeover": 2.0}


@pytest.mark.parametrize("fault", list(BOUNDS))
def test_f37_a_master_that_is_replaced_under_load_loses_no_task(
    pairs: Cluster, launch: Launch, client: Client, fault: str
) -> None:
    helpers = client(pairs.addresses, redis_patience=20.0)
    master = owner_of(pairs, helpers, 0)
    (replica,) = pairs.replicas_of(master)
    elsewhere = partition_elsewhere(pairs, helpers, master)
    live = ids_of(helpers, elsewhere, 10_000, "live")
    hit = ids_of(helpers, 0, 10_000, "hit")
    # One client for what the fault hits: each would wait for its own overdue reply.
    hit_by = client(pairs.addresses, redis_patience=20.0)
    # A takeover may undo an end that a worker was told of: only the age of its lease shows that.
    monitor, ages = MONITOR, {}
    if fault == "takeover":
        ages = {"task_timeout": 12.0, "update_task_interval": 1.0}
        monitor = f'{MONITOR}={{"loop_interval": 1, "task_timeout": 12}}'
    workers = [launch(monitor, at=pairs.addresses, block_seconds=1.0, **ages) for _ in range(2)]
    slow = helpers.start_tasks([("sleeper", {"seconds": 4})] * 30)
    wait_until(lambda: sum(one.output.count('"started"') for one in workers) == 30)
    with (
        producing(client(pairs.addresses, redis_patience=20.0), live.__getitem__) as on_live,
        producing(hit_by, hit.__getitem__) as on_hit,
        in_order_again(pairs, master),
    ):
        wait_until(lambda: len(on_hit) > 20)
        if fault == "killed":
            master.kill()
        elif fault == "frozen":
            master.pause()
        else:
            words = ["TAKEOVER"] if fault == "takeover" else []
            replica.command("CLUSTER", "FAILOVER", *words)
        recovery = Recovery(BOUNDS[fault])
        known, known_live = len(on_hit), len(on_live)
        # The others go on meanwhile.
        others = Recovery(2.0)
        wait_until(lambda: len(on_live) > known_live + 20)
        others.check()
        wait_until(lambda: len(on_hit) > known + 20)
        of_state(hit_by, [on_hit[-1]], "SUCCESS")
        recovery.check()
    ids = [*slow, *on_live, *on_hit]
    # A takeover asks nobody: what the old master took and had not passed on yet is gone.
    gone = [one for one in on_hit if not helpers.get_task(one)] if fault == "takeover" else []
    assert len(gone) < 5
    wait_ended_once(helpers, [one for one in ids if one not in gone])
    for worker in workers:
        assert worker.stop() == 0


@contextmanager
def in_order_again(cluster: Cluster, master: Server) -> Iterator[None]:
    """Bring a master that was killed or frozen back, as the replica of its successor."""
    try:
        yield
    finally:
        assert master.process is not None
        if master.process.poll() is not None:
            master.start()
        master.resume()
        wait_until(lambda: len(cluster.replicas_of(master)) == 0)
        cluster.wait_agreement()


def test_f37_while_a_whole_shard_is_gone_the_others_run_and_are_looked_after(
    disposable_cluster: Any, launch: Launch, client: Client
) -> None:
    cluster = disposable_cluster(
        masters=3, replicas=0, node_timeout=1000, cluster_allow_reads_when_down="yes",
        appendonly="yes", appendfsync="always",
    )  # fmt: skip
    helpers = client(cluster.addresses, redis_patience=20.0)
    fleet = cluster.owner_of(helpers.keys.workers)
    dead = next(number for number in range(4) if owner_of(cluster, helpers, number) is not fleet)
    node = owner_of(cluster, helpers, dead)
    living = partition_elsewhere(cluster, helpers, node)
    victim = launch(at=cluster.addresses, **FAST)
    running = ids_of(helpers, living, 5, "running")
    for one in running:
        helpers.start_task("sleeper", one, first=600, seconds=0)
    held = ids_of(helpers, dead, 5, "held")
    for one in held:
        helpers.start_task("sleeper", one, first=600, seconds=0)
    victim.wait_for_event("started", count=10)
    node.kill()
    # A worker dies as well: what it ran on the living shards is taken over all the same.
    # Its beats are so far apart that a Monitor must have seen Redis healthy for several looks.
    survivor = launch(*[MONITOR] * 12, at=cluster.addresses, **{**FAST, "beat_interval": 0.5})
    name = survivor.wait_for_event("ready")["worker"]
    victim.kill()
    recovery = Recovery(10.0)
    of_state(helpers, running, "SUCCESS")
    recovery.check()
    # Nor does a local task wait for the shard that its first ID would have belonged to.
    wait_until(
        lambda: (
            {one.worker: one.details["running"] for one in helpers.store.list_workers()}[name]
            == "12"
        )
    )
    hasty = ids_of(helpers, living, 200, "hasty")
    recovery = Recovery(3.0)
    helpers.start_tasks([{"task": "echo", "task_id": one} for one in hasty])
    of_state(helpers, hasty, "SUCCESS")
    recovery.check()
    node.start()
    of_state(helpers, held, "SUCCESS")
    wait_ended_once(helpers, [*running, *hasty, *held])
    assert survivor.stop() == 0


def test_f32_scripts_forgotten_by_a_living_shard_are_told_again_while_another_is_dead(
    disposable_cluster: Any, launch: Launch, client: Client
) -> None:
    # Of three: the half of two that lives would say CLUSTERDOWN from the time-out on.
    cluster = disposable_cluster(masters=3, replicas=0, node_timeout=1000)
    helpers = client(cluster.addresses, redis_patience=20.0)
    fleet, living = cluster.owner_of(helpers.keys.workers), owner_of(cluster, helpers, 0)
    node = next(one for one in cluster.masters() if one not in (fleet, living))
    worker = launch(MONITOR, at=cluster.addresses)
    node.kill()
    ids = ids_of(helpers, 0, 50)
    for one in ids:
        living.command("SCRIPT", "FLUSH")
        helpers.start_task("echo", one)
    of_state(helpers, ids, "SUCCESS")
    assert {helpers.get_task(one, "attempts") for one in ids} == {"1"}
    assert "NOSCRIPT" not in worker.output


def test_f38_a_busy_slot_that_stays_half_moved_for_long_loses_nothing(
    pairs: Cluster, launch: Launch, client: Client
) -> None:
    helpers = client(pairs.addresses, redis_patience=30.0)
    source = owner_of(pairs, helpers, 0)
    target = next(one for one in pairs.masters() if one is not source)
    slot = slot_of(helpers.keys.partitions[0].new_queue())
    elsewhere = partition_elsewhere(pairs, helpers, source)
    live = ids_of(helpers, elsewhere, 10_000, "live")
    moving = ids_of(helpers, 0, 10_000, "moving")
    worker = launch(MONITOR, at=pairs.addresses)
    slow = ids_of(helpers, 0, 20, "slow")
    helpers.start_tasks(
        [{"task": "sleeper", "task_id": one, "data": {"seconds": 2}} for one in slow]
    )
    worker.wait_for_event("started", count=20)
    with (
        producing(client(pairs.addresses, redis_patience=30.0), live.__getitem__) as on_live,
        producing(client(pairs.addresses, redis_patience=30.0), moving.__getitem__) as on_moving,
    ):
        wait_until(lambda: len(on_moving) > 50)
        pairs.migrate_slot(slot, target, half_way=True)
        known = len(on_live)
        gevent.sleep(5.0)
        # The others do not notice.
        wait_until(lambda: len(on_live) > known + 100)
        of_state(helpers, [on_live[-1]], "SUCCESS")
        for _ in range(2):  # there, and back at one go
            pairs.migrate_slot(slot, target)
            recovery = Recovery(3.0)
            stalled = len(on_moving)
            wait_until(lambda stalled=stalled: len(on_moving) > stalled + 20)
            of_state(helpers, [on_moving[-1]], "SUCCESS")
            recovery.check()
            target = source
    wait_ended_once(helpers, [*slow, *on_live, *on_moving])
    assert {helpers.get_task(one, "attempts") for one in slow} == {"1"}
    assert worker.stop() == 0
