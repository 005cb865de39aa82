"""The fixtures of conftest.py keep tests apart on every topology."""

import time

import gevent
import pytest

from tests.support.deadline import DeadlineExceeded
from tests.support.namespace import Namespace
from tests.support.sentinels import Sentinels
from tests.support.waiting import wait_until as wait


def test_a_namespace_is_dumped_and_removed_alone(topology, namespace, raw, dump):
    other = Namespace.fresh()
    tags = ["{0}", "{1}", "{2}", "{3}"] if topology.is_cluster else [""]
    for tag in tags:
        raw.hset(f"{namespace.task_prefix}{tag}ID", "state", "WAIT")
        raw.lpush(f"{namespace.new_queue}{tag}", "b", "a")
        raw.zadd(f"{namespace.task_set}{tag}:lease", {"ID": 1.5})
        raw.sadd(f"{namespace.task_set}{tag}", "ID")
        raw.set(f"{other.task_set}{tag}", "mine")

    found = dump()
    assert len(found) == 4 * len(tags)
    assert found[f"{namespace.task_prefix}{tags[-1]}ID"] == {"state": "WAIT"}
    assert found[f"{namespace.new_queue}{tags[-1]}"] == ["a", "b"]
    assert found[f"{namespace.task_set}{tags[-1]}:lease"] == {"ID": 1.5}
    assert found[f"{namespace.task_set}{tags[-1]}"] == {"ID"}

    namespace.remove(topology.masters())
    assert dump() == {}
    assert len(other.dump(topology.masters())) == len(tags)
    other.remove(topology.masters())


@pytest.mark.topologies("valkey")
def test_a_test_may_ask_for_some_topologies(topology):
    assert topology.name == "valkey"


def test_the_standard_library_is_patched_before_redis_is_imported():
    import redis.connection
    from gevent import _socket3

    assert redis.connection.socket.socket is _socket3.socket


def test_waiting_in_vain_says_for_what():
    with pytest.raises(AssertionError, match="cows come home"):
        wait(lambda: False, 0.02, "the cows come home")


def test_a_condition_may_assert():
    began = time.monotonic()

    def condition():
        assert time.monotonic() > began + 0.02
        return "value"

    assert wait(condition, 1) == "value"


@pytest.mark.xfail(raises=DeadlineExceeded, strict=True)
@pytest.mark.timeout(0.2)
def test_a_test_that_waits_too_long_fails():
    gevent.sleep(30)


@pytest.mark.slow
def test_sentinels_replace_a_master_that_died():
    with Sentinels() as group:
        old = group.master
        old.command("SET", "key", "value")
        wait(lambda: group.nodes[1].command("GET", "key") == "value")
        old.kill()
        assert group.wait_promoted(old).command("GET", "key") == "value"
