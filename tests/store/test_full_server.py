"""A server that is full refuses what adds data, and lets everything go on that ends it."""

import pytest

from pytask.connection import connect
from pytask.exceptions import RedisRefused
from pytask.keys import Keys
from pytask.records import NewTask
from pytask.settings import Settings
from pytask.states import Code, State
from pytask.store import Store
from pytask.store.permits import Permit, PermitRequest
from tests.support.namespace import Namespace

from .lab import Lab


@pytest.fixture(params=["valkey", "redis"])
def small(request, disposable_server):
    """A lab on a server of its own, and a switch that makes it full."""
    server = disposable_server(request.param)
    connector = connect(server.url)
    namespace = Namespace.fresh()
    link = connector.link()
    lab = Lab(Store(link, Keys(**namespace.names), Settings()), namespace)
    yield lab, lambda: server.command("CONFIG", "SET", "maxmemory", "1")
    link.close()
    connector.close()


def test_a_full_server_refuses_new_tasks_and_lets_running_ones_end(small):
    lab, fill = small
    runs = [lab.running() for _ in range(7)]
    done, kept, back, stale, stopped, reloaded, _ = runs
    ended, delayed, waiting = lab.ended(), lab.waiting(delay=60.0), lab.waiting()
    lab.age(stale.task_id, 100)
    lab.make_due()
    held, wanted = (Permit("lock:a", token, "") for token in ("1", "2"))
    place = lab.store.partition_of("lock:a")
    lab.store.acquire_permits(place, [PermitRequest(held, 1)], 60)
    fill()
    before = lab.snapshot()

    with pytest.raises(RedisRefused):
        lab.store.patient(0).enqueue([NewTask("new", "lab/task", b"{}")])
    with pytest.raises(RedisRefused):
        lab.claim(store=lab.store.patient(0))
    with pytest.raises(RedisRefused):
        lab.store.patient(0).acquire_permits(place, [PermitRequest(wanted, 1)], 60)
    assert lab.snapshot() == before

    assert lab.store.renew_permits(place, [held], 60) == []
    assert lab.store.release_permits(place, [held]).called == []
    beats = lab.store.heartbeat(lab.partition, [(run.task_id, run.token) for run in runs[:3]])
    assert beats == []
    assert lab.finish(done) is Code.OK
    assert lab.finish(kept, State.RETRY, delay=60.0) is Code.OK
    assert lab.store.requeue(lab.partition, [(back.task_id, back.token)]) == [Code.OK]
    assert lab.store.stop(stopped.task_id) is Code.SENT
    assert lab.store.stop(waiting) is Code.OK
    assert lab.store.reload(reloaded.task_id) is Code.SENT
    reaped = lab.store.reap(lab.partition, task_timeout=60, worker_timeout=5).reaped
    assert [one.task_id for one in reaped] == [stale.task_id]
    assert lab.store.promote(lab.partition).moved == 1
    taken = lab.store.take_ended(lab.partition, "w")
    assert [one.task_id for one in taken] == [ended, done.task_id]
    assert lab.store.acknowledge_ended(lab.partition, "w", taken, keep_failed=True) == [
        Code.OK,
        Code.OK,
    ]
    assert lab.store.remove(delayed) is Code.OK
    lab.store.beat_worker("w", {"a": "1"})
    assert len(lab.store.list_workers()) == 1


def test_a_worker_can_start_its_local_cleanup_on_a_full_server(small):
    lab, fill = small
    fill()
    lab.store.agree_partitions()
    run = lab.store.start_local(lab.id(), "pytask/cleanup", b"{}", "w", "1-x")
    assert lab.state(run.task_id) == "RUNNING"
