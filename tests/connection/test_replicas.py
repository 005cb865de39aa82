"""``wait_replicas``: a start is acknowledged when replicas have the task."""

import time
from collections.abc import Iterator

import gevent
import pytest

from pytask import PyTaskHelpers, RedisUnavailable
from pytask.exceptions import NotReplicated
from tests.support.cluster import Cluster
from tests.support.servers import Server
from tests.support.waiting import wait_until


class Pair:
    """A master and its replica."""

    def __init__(self) -> None:
        self.master = Server("valkey", repl_diskless_sync_delay=0).start()
        self.replica = Server("valkey", replicaof=f"{self.master.host} {self.master.port}").start()
        wait_until(self._is_followed, 20, message="the replica follows")

    def _is_followed(self) -> bool:
        return self.master.info("replication").get("connected_slaves") == "1" and (
            self.replica.info("replication")["master_link_status"] == "up"
        )

    def helpers(self, **options: object) -> PyTaskHelpers:
        return PyTaskHelpers(self.master.url, wait_replicas=1, **options)

    def close(self) -> None:
        self.replica.close()
        self.master.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    one = Pair()
    yield one
    one.close()


def test_a_task_whose_start_was_acknowledged_is_on_the_replica(pair: Pair) -> None:
    with pair.helpers() as helpers:
        for number in range(200):
            task_id = helpers.start_task("any", number=number)
            assert pair.replica.command("HGET", f"task-{task_id}", "state") == "WAIT"
        ids = helpers.start_tasks([("any", {"number": number}) for number in range(1000)])
        assert pair.replica.command("EXISTS", *(f"task-{one}" for one in ids)) == 1000


def test_what_was_acknowledged_survives_a_master_that_dies_at_once(pair: Pair) -> None:
    with pair.helpers() as helpers:
        ids = helpers.start_tasks([("any", {})] * 500)
        ids += [helpers.start_task("any") for _ in range(50)]
        pair.master.kill()
    pair.replica.command("REPLICAOF", "NO", "ONE")
    with PyTaskHelpers(pair.replica.url) as helpers:
        assert set(helpers.get_new_task_ids()) == set(ids)


def test_a_start_no_replica_has_is_not_acknowledged_and_can_be_repeated(pair: Pair) -> None:
    pair.replica.pause()
    with pair.helpers(redis_patience=1.5) as helpers:
        with pytest.raises(NotReplicated, match="0 of 1 replicas") as raised:
            helpers.start_task("any", "precious")
        assert isinstance(raised.value, RedisUnavailable)
        assert helpers.get_task("precious", "state") == "WAIT"
        # A repeat finds the task there, and still does not take it for safe.
        with pytest.raises(NotReplicated):
            helpers.start_task("any", "precious")
        pair.replica.resume()
        helpers.start_task("any", "precious")
        assert helpers.get_new_task_ids() == ["precious"]
    assert pair.replica.command("HGET", "task-precious", "task") == "any"


def test_a_replica_that_is_slow_is_waited_for(pair: Pair) -> None:
    pair.replica.pause()
    began = time.monotonic()
    with pair.helpers(redis_patience=20.0) as helpers:
        waker = gevent.spawn_later(1.5, pair.replica.resume)
        helpers.start_task("any", "late")
        waker.get()
    assert time.monotonic() - began >= 1.4


def test_a_repeat_in_one_batch_does_not_bring_an_old_name_back(pair: Pair) -> None:
    """What is written so that the wait has something to wait for must be what is there."""
    with pair.helpers() as helpers:
        helpers.start_task("old", "x")
        helpers.stop_task("x")
        helpers.start_tasks([{"task": "new", "task_id": "x"}] * 2)
        assert helpers.get_task("x", "task") == "new"


def test_each_master_of_a_cluster_waits_for_its_own_replica() -> None:
    with Cluster(3, 1) as cluster:
        with PyTaskHelpers(cluster.url, wait_replicas=1) as helpers:
            ids = helpers.start_tasks([("any", {"number": number}) for number in range(500)])
            ids += [helpers.start_task("any") for _ in range(50)]
            assert sorted(helpers.get_new_task_ids()) == sorted(ids)
        demanding = PyTaskHelpers(cluster.url, wait_replicas=2, redis_patience=1.2)
        with demanding, pytest.raises(NotReplicated, match="1 of 2 replicas"):
            demanding.start_task("any")
