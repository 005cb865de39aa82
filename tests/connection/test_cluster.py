"""A cluster link finds the node of each key through everything a cluster does."""

import hashlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import gevent
import pytest

from pytask.connection import Link, Patience, connect, retrying
from pytask.connection.slots import first_key, slot_of
from pytask.exceptions import RedisRejected, RedisUnavailable
from tests.support.cluster import Cluster
from tests.support.waiting import PATIENCE, wait_until

SCRIPT = "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])"
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()


@pytest.fixture
def cluster(redis_cluster: Cluster) -> Iterator[Cluster]:
    yield redis_cluster
    for master in redis_cluster.masters():
        master.command("FLUSHALL")


@pytest.fixture
def link(cluster: Cluster) -> Iterator[Link]:
    link = connect(cluster.addresses).link(timeout=10.0)
    yield link
    link.close()


def test_slots_are_those_of_the_server(link: Link) -> None:
    for key in ("key", "task-{3}ID", "{}key", "{open", "a{b}{c}", "é", "{é}"):
        assert slot_of(key) == link.execute("CLUSTER", "KEYSLOT", key)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", "key"), "key"),
        (("blmove", "from", "to", "LEFT", "RIGHT", 1), "from"),
        (("EVALSHA", "sha", 2, "one", "two", "arg"), "one"),
        (("EVAL", "script", 0, "arg"), None),
        (("PUBLISH", "channel", "message"), None),
        (("OBJECT", "ENCODING", "key"), "key"),
        ((b"GET", b"key"), b"key"),
        (("MULTI",), None),
    ],
)
def test_the_first_key_chooses_the_node(command: Any, key: Any) -> None:
    assert first_key(command) == key


def test_scripts_run_where_their_keys_are(link: Link) -> None:
    for number in range(12):
        keys = [f"{{{number}}}a", f"{{{number}}}b"]
        assert link.evalsha(SHA, SCRIPT, keys, []) == 1


def test_forgotten_scripts_are_sent_in_full_to_their_node_only(
    link: Link, cluster: Cluster
) -> None:
    link.evalsha(SHA, SCRIPT, ["{1}a", "{1}b"], [])
    for master in cluster.masters():
        master.command("SCRIPT", "FLUSH")
        master.command("CONFIG", "RESETSTAT")
    assert link.evalsha(SHA, SCRIPT, ["{1}a", "{1}b"], []) == 2
    statistics = [master.info("commandstats") for master in cluster.masters()]
    assert sum("cmdstat_eval" in one for one in statistics) == 1
    assert not any("cmdstat_script|load" in one for one in statistics)


def test_keys_in_different_slots_are_rejected(link: Link) -> None:
    with pytest.raises(RedisRejected, match="CROSSSLOT"):
        link.evalsha(SHA, SCRIPT, ["{1}a", "{2}b"], [])


def test_all_masters_are_scanned_and_asked(link: Link, cluster: Cluster) -> None:
    for number in range(300):
        link.execute("SET", f"key-{number}", "")
    assert len(set(link.scan_iter("key-*", count=50))) == 300
    assert sum(link.masters_execute("DBSIZE")) == 300


def test_a_message_reaches_subscribers_of_any_node(link: Link) -> None:
    feeds = [link.pubsub() for _ in range(3)]
    for feed in feeds:
        feed.send("SUBSCRIBE", "channel")
        assert feed.read(PATIENCE) == [b"subscribe", b"channel", 1]
    link.execute("PUBLISH", "channel", "hello")
    for feed in feeds:
        assert feed.read(PATIENCE) == [b"message", b"channel", b"hello"]
        feed.close()


def test_a_single_server_is_no_cluster(valkey_server: Any) -> None:
    link = connect([valkey_server.address, valkey_server.address]).link()
    with pytest.raises(RedisRejected, match="cluster support disabled"):
        link.execute("GET", "key")


def test_one_dead_startup_node_does_no_harm(cluster: Cluster) -> None:
    link = connect([("127.0.0.1", 1), *cluster.addresses]).link()
    assert link.execute("SET", "key", "") == b"OK"


def test_a_cluster_that_cannot_be_reached_is_unavailable() -> None:
    link = connect([("127.0.0.1", 1), ("127.0.0.1", 2)]).link()
    for call in (partial(link.execute, "GET", "key"), link.pubsub, lambda: [*link.scan_iter("*")]):
        with pytest.raises(RedisUnavailable):
            call()


def test_many_callers_of_a_silent_cluster_fail_together(cluster: Cluster, proxy: Any) -> None:
    between = {node.address: proxy(node) for node in cluster.nodes[:2]}
    for one in between.values():
        one.black_hole()
    link = connect([one.address for one in between.values()]).link(timeout=0.3)
    started_at = time.monotonic()
    callers = [gevent.spawn(link.execute, "GET", "key") for _ in range(50)]
    gevent.joinall(callers, timeout=60)
    assert all(isinstance(caller.exception, RedisUnavailable) for caller in callers)
    # One after the other would take 50 times the timeout.
    assert time.monotonic() - started_at < 12.0


def test_a_lost_reply_is_not_sent_again(cluster: Cluster, proxy: Any) -> None:
    """All nodes are reached through proxies; the cluster's own addresses are mapped to them."""
    between = {node.address: proxy(node) for node in cluster.nodes}
    link = connect(
        [one.address for one in between.values()],
        address_remap=lambda address: between[address].address,
    ).link(timeout=10.0)
    link.execute("SET", "list", "")
    link.execute("DEL", "list")
    for one in between.values():
        one.cut_on_reply(request=b"LPUSH", times=1)
    with pytest.raises(RedisUnavailable):
        link.execute("LPUSH", "list", "once")
    for one in between.values():
        one.allow()
    assert link.execute("LLEN", "list") == 1


def test_a_half_moved_slot_is_served_and_split_keys_mean_later(cluster: Cluster) -> None:
    link = connect(cluster.addresses).link(timeout=10.0)
    slot = slot_of("{moving}")
    owner = cluster.owner_of(slot)
    target = next(master for master in cluster.masters() if master is not owner)
    link.execute("SET", "{moving}a", "a")
    cluster.migrate_slot(slot, target, half_way=True)
    try:
        # New keys live at the target already: ASK, for short and for blocking commands.
        link.execute("SET", "{moving}new", "new")
        assert link.execute("GET", "{moving}new") == b"new"
        assert link.blocking(0.1, "BLMOVE", "{moving}x", "{moving}x", "LEFT", "LEFT", 0.1) is None
        with pytest.raises(RedisUnavailable, match="TRYAGAIN"):
            link.execute("MSET", "{moving}none", "", "{moving}new", "")
    finally:
        cluster.migrate_slot(slot, target)
    assert link.execute("GET", "{moving}a") == b"a"
    assert link.execute("GET", "{moving}new") == b"new"
    cluster.migrate_slot(slot, owner)
    assert link.execute("GET", "{moving}a") == b"a"


def test_a_failover_by_hand_loses_no_call(cluster: Cluster) -> None:
    link = connect(cluster.addresses).link(timeout=10.0)
    link.execute("SET", "key", 0)
    replica = cluster.replicas_of(cluster.owner_of("key"))[0]
    mover = gevent.spawn(cluster.failover, replica)
    count = 0
    while not mover.ready() or count < 50:
        count += 1
        assert retrying(partial(link.execute, "SET", "key", count), Patience(60.0)) == b"OK"
    mover.get()
    assert link.execute("GET", "key") == b"%d" % count
    assert cluster.owner_of("key") is replica


def test_a_killed_master_is_replaced_and_its_subscription_moves(disposable_cluster: Any) -> None:
    from pytask.events import Subscription

    cluster = disposable_cluster(masters=3, replicas=1, node_timeout=1000)
    connector = connect(cluster.addresses)
    link = connector.link(timeout=1.0, connect_timeout=0.5)
    link.execute("SET", "key", 0)
    victim = cluster.owner_of("key")
    subscription = listening_on(connector, victim.port, Subscription)
    generation = subscription.generation
    victim.kill()
    assert subscription.get(0) is None
    wait_until(lambda: subscription.get(0.05) or subscription.ready, message="moved")
    assert subscription.generation == generation + 1
    assert port_of(subscription) != victim.port
    # The other shards work on meanwhile.
    others = [master for master in cluster.alive() if master is not victim]
    assert others
    assert retrying(partial(link.execute, "SET", "key", 1), Patience(60.0)) == b"OK"
    assert retrying(partial(link.execute, "PUBLISH", "hint", "x"), Patience(60.0)) >= 0
    assert subscription.get(PATIENCE).data == b"x"
    subscription.close()
    connector.close()


def listening_on(connector: Any, port: int, make: Any) -> Any:
    """Return a subscription that happens to be connected to the node at ``port``."""
    for _ in range(100):
        subscription = make(connector.link(connect_timeout=0.5), channels=["hint"])
        assert subscription.wait_ready(PATIENCE)
        if port_of(subscription) == port:
            return subscription
        subscription.close()
    raise AssertionError("never connected to that node")


def port_of(subscription: Any) -> int:
    return int(subscription._feed._wire.connection.port)
