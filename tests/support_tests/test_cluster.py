"""Clusters of ours form, fail over and migrate slots as tests rely on."""

import contextlib

import pytest
import redis

from tests.support.cluster import slot_of


def test_slots_are_computed_like_the_server_does(redis_cluster):
    for key in ("foo", "new-task{3}", "{}x", "a{b}c{d}", ""):
        assert redis_cluster.nodes[0].command("CLUSTER", "KEYSLOT", key) == slot_of(key)


@pytest.mark.slow
def test_a_cluster_survives_its_masters(disposable_cluster):
    cluster = disposable_cluster(node_timeout=1000)
    client = cluster.client()
    client.set("key", "value")

    # Given a slot that is half way to another master
    slot = slot_of("key")
    source = cluster.owner_of(slot)
    target = next(node for node in cluster.masters() if node is not source)
    source.command("SET", "{key}2", "2")
    cluster.migrate_slot(slot, target, half_way=True)
    with pytest.raises(redis.ResponseError, match="Multiple keys request during rehashing"):
        source.command("MGET", "{key}2", "key")
    # When it arrives
    cluster.migrate_slot(slot, target)
    # Then the new master serves it
    assert cluster.owner_of("key") is target

    # A manual failover moves it to the replica, without a loss
    replica = cluster.replicas_of(target)[0]
    cluster.failover(replica)
    assert cluster.owner_of("key") is replica

    # And when that dies, back to the other one
    replica.kill()
    assert cluster.wait_promoted(replica) is target
    assert client.get("key") == "value"


def test_traffic_of_one_node_can_be_disturbed(disposable_cluster):
    cluster = disposable_cluster(masters=3, replicas=1, proxied=True)
    client = cluster.client(socket_timeout=0.3)
    assert client.set("key", "value")

    gate = cluster.proxy_of(cluster.owner_of("key"))
    gate.cut_on_reply(request=b"APPEND")
    with contextlib.suppress(redis.RedisError):  # redis-py may send it again on its own
        client.append("key", "+")

    assert gate.counts["cut"] == 1
    assert cluster.owner_of("key").command("GET", "key").startswith("value+")
