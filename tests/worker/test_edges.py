"""What happens rarely: lost replies in odd places, servers set up badly, large outputs."""

from typing import Any

import gevent
import pytest

from pytask import Task
from pytask.worker import supervisor as supervising
from pytask.worker.servers import warn_of_unsafe_servers
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import Serve
from tests.worker.works import nothing_happened, release, started

pytestmark = pytest.mark.topologies("valkey")

__all__ = ["nothing_happened"]  # a fixture


class Works(Task):
    NAME = "works"

    def __init__(self, output: str = "") -> None:
        self.output = output

    def start(self) -> str:
        started.append(self.id)
        release.wait()
        return self.output


@pytest.fixture
def relay(proxy: Any, valkey_server: Any) -> Any:
    return proxy(valkey_server)


def test_a_local_task_whose_start_got_no_reply_is_started_once(relay: Any, serve: Serve) -> None:
    worker = serve(Works, at=relay.url)
    relay.cut_on_reply(times=2, request=b"only once")
    worker.app.start_local_task("works", output="only once")
    wait_until(lambda: started)
    assert worker.helpers.get_active_task_ids() == started
    release.set()
    assert worker.wait_for(started[0], "SUCCESS") == "only once"


def test_a_reload_reads_again_when_the_reply_is_lost(relay: Any, serve: Serve) -> None:
    worker = serve(Works, at=relay.url)
    task_id = worker.start("works", output="a")
    wait_until(lambda: len(started) == 1)
    relay.cut_on_reply(times=3, request=b"HMGET")
    worker.helpers.reload_task(task_id)
    wait_until(lambda: len(started) == 2)


def test_a_stop_ends_a_reload_that_cannot_read(relay: Any, serve: Serve) -> None:
    worker = serve(Works, at=relay.url)
    task_id = worker.start("works")
    wait_until(lambda: len(started) == 1)
    run = worker.parts.table.get(task_id)
    relay.cut_on_reply(times=1000, request=b"HMGET")
    worker.helpers.reload_task(task_id)
    wait_until(lambda: run.phase == 4)
    worker.helpers.stop_task(task_id)
    wait_until(lambda: worker.app.running == 0)
    relay.allow()
    worker.wait_for(task_id, "STOPPED")
    assert len(started) == 1


def test_an_end_at_once_settles_a_reload_under_way(relay: Any, serve: Serve) -> None:
    worker = serve(Works, at=relay.url)
    task_id = worker.start("works")
    wait_until(lambda: len(started) == 1)
    run = worker.parts.table.get(task_id)
    relay.cut_on_reply(times=1000, request=b"HMGET")
    worker.helpers.reload_task(task_id)
    wait_until(lambda: run.phase == 4)
    worker.parts.runner.give_up_all()
    relay.allow()
    wait_until(lambda: len(started) == 2)
    assert worker.record(task_id)["attempts"] == "2"


def test_large_outputs_make_small_batches(serve: Serve) -> None:
    worker = serve(Works, max_output_bytes=1000)
    sizes: list[int] = []
    (finisher,) = worker.parts.finishers
    finish = finisher._store.finish
    finisher._store.finish = lambda partition, outcomes: (
        sizes.append(sum(len(one.output) for one in outcomes)) or finish(partition, outcomes)
    )
    ids = worker.helpers.start_tasks([("works", {"output": "x" * 900})] * 40)
    wait_until(lambda: len(started) == 40)
    release.set()
    for one in ids:
        worker.wait_for(one, "SUCCESS")
    assert sum(sizes) == 40 * 902 and max(sizes) <= 4000


def test_a_queue_that_cannot_take_tasks_back_holds_only_its_own(
    serve: Serve, raw: Any, namespace: Any, caplog: Any
) -> None:
    worker = serve(Works, queues=("default", "broken"), stop_timeout=3.0)
    ids = [
        worker.helpers.submit("works", {}, queue=queue).id
        for queue in ("default", "broken", "default")
    ]
    wait_until(lambda: len(started) == 3)
    for service in (*worker.parts.waiters, *worker.parts.claimers, *worker.parts.promoters):
        service.kill()
        service.join()
    raw.set(f"{namespace.new_queue}:broken", "not a list")
    assert worker.stop() == 1
    assert [worker.record(one)["state"] for one in ids] == ["WAIT", "RUNNING", "WAIT"]
    assert "Redis did not take the end of 1 tasks" in caplog.text
    raw.delete(f"{namespace.new_queue}:broken")


def test_delayed_tasks_start_in_the_order_they_are_due(serve: Serve) -> None:
    worker = serve(Works)
    release.set()
    # In one call, so that both delays begin at the same time.
    requests = [{"task": "works", "data": {}, "delay": delay} for delay in (0.5, 0.2)]
    later, sooner = worker.helpers.start_tasks(requests)
    wait_until(lambda: len(started) == 2)
    assert started == [sooner, later]


def test_many_tasks_that_are_due_at_once_all_start(serve: Serve) -> None:
    worker = serve(Works, concurrency=2000)
    release.set()
    requests = [{"task": "works", "data": {}, "delay": 0.1} for _ in range(1200)]
    worker.helpers.start_tasks(requests)
    wait_until(lambda: len(started) == 1200, 60)


def test_servers_that_may_lose_tasks_are_reported(
    disposable_server: Any, connector: Any, caplog: Any
) -> None:
    from pytask.connection import connect

    server = disposable_server("valkey", maxmemory_policy="allkeys-lru", appendonly="no")
    warn_of_unsafe_servers(connect(server.url).link())
    assert "maxmemory-policy of Redis is allkeys-lru" in caplog.text
    assert "appendonly of Redis is off" in caplog.text
    caplog.clear()
    server.close()
    warn_of_unsafe_servers(connect(server.url).link(timeout=0.5, connect_timeout=0.5))
    assert caplog.text == ""


def test_a_worker_that_cannot_register_takes_nothing_and_says_so(
    app: Any, raw: Any, namespace: Any, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr(supervising, "_REMIND", 0.1)
    raw.set(f"{namespace.task_set}:workers", "not a sorted set")
    one = app(Works)
    one.helpers.start_task("works")
    running = gevent.spawn(one.run)
    wait_until(lambda: "cannot enter itself in the registry" in caplog.text)
    assert "WrongKeyType" in caplog.text and started == []
    one.stop()
    running.join(PATIENCE)
    assert running.successful()
    assert started == []


def test_credentials_that_do_not_suffice_end_the_start(disposable_server: Any, app: Any) -> None:
    server = disposable_server("valkey", requirepass="secret")
    one = app(Works, at=server.url.replace(":secret@", ""))
    with pytest.raises(Exception, match=r"NOAUTH|WRONGPASS|rejects|credentials"):
        one.run()
