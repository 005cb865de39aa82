"""Redis that does not answer for a while, and leases that are lost."""

import logging
import time
from typing import Any

import gevent
import pytest

from pytask import Task
from tests.support.waiting import wait_until
from tests.worker.conftest import LiveWorker, Serve
from tests.worker.works import Works, ended, nothing_happened, release, started

__all__ = ["nothing_happened"]  # a fixture

#: Everything at a pace that a test can wait for.
FAST: dict[str, Any] = {
    "update_task_interval": 0.2,
    "beat_interval": 0.1,
    "worker_timeout": 2.0,
    "redis_grace": 0.8,
    "task_timeout": 5.0,
    "block_seconds": 1.0,
}


#: For tests whose subject is another than what becomes of a run in a long outage. The limits of
#: calls grow with the grace.
PATIENT: dict[str, Any] = {
    **FAST,
    "redis_grace": 10.0,
    "worker_timeout": 60.0,
    "task_timeout": 120.0,
}


@pytest.fixture
def relay(proxy: Any, valkey_server: Any) -> Any:
    return proxy(valkey_server)


@pytest.fixture
def direct(serve: Serve) -> LiveWorker:
    """A worker of another queue, for its helpers, which see Redis without the proxy."""
    return serve(queues=("none",))


@pytest.mark.topologies("valkey")
@pytest.mark.parametrize("fault", ["black_hole", "refuse", "swallow_replies", "drop_requests"])
def test_outcomes_are_held_while_redis_does_not_answer(
    relay: Any, serve: Serve, direct: LiveWorker, fault: str
) -> None:
    worker = serve(Works, at=relay.url, **{**FAST, "redis_grace": 1.9, "worker_timeout": 30})
    ids = [direct.start("works") for _ in range(30)]
    wait_until(lambda: len(started) == 30)
    getattr(relay, fault)()
    release.set()
    wait_until(lambda: len(ended) == 30)
    gevent.sleep(0.3)
    assert worker.app.running == 30  # the slots are kept as well
    assert {direct.record(one)["state"] for one in ids} <= {"RUNNING", "SUCCESS"}
    relay.allow()
    for one in ids:
        direct.wait_for(one, "SUCCESS")
    wait_until(lambda: worker.app.running == 0)
    assert len(started) == 30
    assert sorted(direct.helpers.get_end_task_ids()) == sorted(ids)


@pytest.mark.topologies("valkey")
def test_without_redis_all_runs_stop_within_the_grace_and_are_requeued_later(
    relay: Any, serve: Serve, direct: LiveWorker, caplog: Any
) -> None:
    caplog.set_level(logging.INFO)
    worker = serve(Works, at=relay.url, **{**FAST, "worker_timeout": 15.0})
    ids = [direct.start("works") for _ in range(10)]
    wait_until(lambda: len(started) == 10)
    relay.black_hole()
    cut_at = time.monotonic()
    wait_until(lambda: len(ended) == 10)
    assert FAST["redis_grace"] - 0.2 <= time.monotonic() - cut_at < 15.0
    assert {direct.record(one)["state"] for one in ids} == {"RUNNING"}
    assert "10 running tasks are stopped" in caplog.text
    relay.allow()
    # Given back under their tokens, and claimed again by the same worker.
    wait_until(lambda: len(started) == 20)
    wait_until(lambda: "Redis answers again" in caplog.text)
    assert {direct.record(one)["attempts"] for one in ids} == {"2"}
    release.set()
    for one in ids:
        assert direct.wait_for(one, "SUCCESS") == "done"
    assert worker.stop() == 0


@pytest.mark.topologies("valkey")
def test_a_short_outage_disturbs_nobody(relay: Any, serve: Serve, direct: LiveWorker) -> None:
    serve(Works, at=relay.url, **PATIENT)
    ids = [direct.start("works") for _ in range(5)]
    wait_until(lambda: len(started) == 5)
    relay.black_hole()
    gevent.sleep(0.7)
    relay.allow()
    gevent.sleep(0.7)
    assert ended == []
    release.set()
    for one in ids:
        direct.wait_for(one, "SUCCESS")
    assert len(started) == 5


@pytest.mark.topologies("valkey")
def test_a_local_task_starts_anew_after_an_outage(
    relay: Any, serve: Serve, direct: LiveWorker
) -> None:
    serve(Works, at=relay.url, prepare=lambda app: app.start_local_task("works"), **FAST)
    wait_until(lambda: len(started) == 1)
    relay.refuse()
    wait_until(lambda: len(ended) == 1)
    relay.allow()
    wait_until(lambda: len(started) == 2)
    assert started[0] != started[1]
    wait_until(lambda: not direct.record(started[0]))
    assert direct.record(started[1])["local"] == "true"


@pytest.mark.topologies("valkey")
def test_a_stop_that_was_asked_before_an_outage_is_kept(
    relay: Any, serve: Serve, direct: LiveWorker
) -> None:
    class SlowToStop(Task):
        NAME = "slow-to-stop"

        def start(self) -> None:
            started.append(self.id)
            release.wait()

        def stop(self) -> None:
            ended.append(self.id)

    serve(SlowToStop, at=relay.url, **{**FAST, "stop_timeout": 20.0})
    task_id = direct.start("slow-to-stop")
    wait_until(lambda: started)
    direct.helpers.stop_task(task_id)
    wait_until(lambda: ended)
    relay.black_hole()
    gevent.sleep(2.5)
    relay.allow()
    direct.wait_for(task_id, "STOPPED")


@pytest.mark.parametrize("how", ["taken", "deleted", "stopped"])
def test_a_lost_run_stops_and_writes_nothing(
    serve: Serve, raw: Any, keys: Any, caplog: Any, how: str
) -> None:
    worker = serve(Works, **FAST)
    task_id = worker.start("works")
    wait_until(lambda: started)
    record = keys.of(task_id).record(task_id)
    if how == "taken":
        raw.hset(record, "run", "2-anotherworker")
    elif how == "deleted":
        raw.delete(record)
    else:
        raw.hset(record, "state", "STOPPED")
    before = raw.hgetall(record)
    wait_until(lambda: ended and worker.app.running == 0)
    after = raw.hgetall(record)
    assert after == before
    assert "is not ours any more" in caplog.text
    wait_until(lambda: worker.free_slots == 1000)


@pytest.mark.topologies("valkey")
def test_an_outcome_that_comes_too_late_is_dropped(
    serve: Serve, raw: Any, namespace: Any, caplog: Any
) -> None:
    # The heartbeat must not find out before the outcome is reported.
    worker = serve(Works, **{**PATIENT, "update_task_interval": 60.0})
    task_id = worker.start("works")
    wait_until(lambda: started)
    raw.hset(f"{namespace.task_prefix}{task_id}", "run", "2-anotherworker")
    release.set()
    wait_until(lambda: worker.app.running == 0)
    assert worker.record(task_id)["state"] == "RUNNING"
    assert "its outcome SUCCESS is dropped" in caplog.text


@pytest.mark.topologies("valkey")
def test_an_outcome_for_a_key_of_another_type_is_dropped(
    serve: Serve, raw: Any, namespace: Any, caplog: Any
) -> None:
    # The heartbeat must not find out before the outcome is reported.
    worker = serve(Works, **{**PATIENT, "update_task_interval": 60.0})
    task_id = worker.start("works")
    wait_until(lambda: started)
    record = f"{namespace.task_prefix}{task_id}"
    raw.delete(record)
    raw.set(record, "text")
    release.set()
    wait_until(lambda: worker.app.running == 0)
    assert raw.get(record) == "text"
    assert "is not a hash any more" in caplog.text


@pytest.mark.topologies("valkey")
def test_outcomes_wait_until_an_end_queue_of_another_type_is_put_right(
    serve: Serve, raw: Any, namespace: Any, caplog: Any
) -> None:
    worker = serve(Works, **FAST)
    ids = [worker.start("works") for _ in range(5)]
    wait_until(lambda: len(started) == 5)
    raw.set(namespace.end_queue, "not a list")
    release.set()
    wait_until(lambda: "finisher: WrongKeyType" in caplog.text)
    raw.delete(namespace.end_queue)
    for one in ids:
        worker.wait_for(one, "SUCCESS")


@pytest.mark.topologies("valkey")
def test_a_lost_local_task_starts_anew(serve: Serve, raw: Any, namespace: Any) -> None:
    serve(Works, prepare=lambda app: app.start_local_task("works"), **FAST)
    wait_until(lambda: len(started) == 1)
    raw.delete(f"{namespace.task_prefix}{started[0]}")
    wait_until(lambda: len(started) == 2)


@pytest.mark.topologies("valkey")
def test_leases_that_cannot_be_refreshed_end_their_runs(
    relay: Any, serve: Serve, direct: LiveWorker, caplog: Any
) -> None:
    """The registry answers, the partition does not: as when one node of a cluster is gone."""
    serve(Works, at=relay.url, **{**FAST, "task_timeout": 1.5})
    task_id = direct.start("works")
    wait_until(lambda: started)
    # Only this script has the leases as its first key.
    relay.drop_requests(request=b"tasks:lease\r\n$")
    wait_until(lambda: ended)
    assert "could not be refreshed" in caplog.text
    relay.allow()
    wait_until(lambda: len(started) == 2)
    release.set()
    direct.wait_for(task_id, "SUCCESS")


@pytest.mark.topologies("valkey")
def test_a_server_that_restarts_is_ridden_out(disposable_server: Any, serve: Serve) -> None:
    server = disposable_server("valkey", appendonly="yes")
    worker = serve(Works, at=server.url, **{**FAST, "redis_grace": 1.9})
    ids = [worker.start("works") for _ in range(5)]
    wait_until(lambda: len(started) == 5)
    server.restart(kill=True)
    release.set()
    for one in ids:
        worker.wait_for(one, "SUCCESS")
    wait_until(lambda: worker.app.running == 0)
    assert worker.run_task("works") == ("SUCCESS", "done")


@pytest.mark.topologies("valkey")
def test_a_server_that_lost_everything_ends_the_runs_and_local_tasks_start_anew(
    serve: Serve, raw: Any, namespace: Any
) -> None:
    worker = serve(Works, prepare=lambda app: app.start_local_task("works"), **FAST)
    worker.start("works")
    wait_until(lambda: len(started) == 2)
    for key in raw.scan_iter(f"{namespace.prefix}*"):
        raw.delete(key)
    wait_until(lambda: len(ended) == 2 and len(started) == 3)
    # The worker lets go of the old runs, and enters the registry again, when it hears of the loss.
    wait_until(lambda: worker.app.running == 1)
    wait_until(lambda: raw.zcard(f"{namespace.task_set}:workers") == 1)
