"""Limits: how many tasks of a kind run at a time, in all workers together."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask import Task
from pytask.store.calls import Calls
from pytask.worker.releaser import Releaser
from tests.support.waiting import wait_until
from tests.worker.conftest import LiveWorker, Serve

#: IDs of the runs that are at work, and the most there ever were.
at_work: list[str] = []
most: list[int] = []
started: list[str] = []
disobeyed: list[str] = []
release = Event()


@pytest.fixture(autouse=True)
def nothing_happened() -> Iterator[None]:
    for one in (at_work, most, started, disobeyed):
        one.clear()
    release.clear()
    yield
    release.set()


class _Counted(Task):
    ABSTRACT = True

    def start(self) -> str:
        at_work.append(self.id)
        started.append(self.id)
        most.append(len(at_work))
        try:
            self.work()
            return "done"
        finally:
            at_work.remove(self.id)

    def work(self) -> None:
        release.wait()


class Two(_Counted):
    """Two at a time."""

    NAME = "two"
    MAX_CONCURRENCY = 2


class Quick(_Counted):
    """Three at a time, and quick."""

    NAME = "quick"
    MAX_CONCURRENCY = 3

    def work(self) -> None:
        gevent.sleep(0.001)


class One(_Counted):
    """No two at a time; who comes second does not wait."""

    NAME = "one"
    CAN_OVERLAP = False
    ON_LIMIT = "revoke"


class PerKey(_Counted):
    """No two for one account; any number for none."""

    NAME = "per-key"

    def __init__(self, account: Any) -> None:
        self.account = account

    @staticmethod
    def CAN_OVERLAP(account: Any) -> Any:
        if account == "broken":
            raise ValueError("no such account")
        if account == "leaves":
            raise SystemExit
        return True if account is None else account


class Both(_Counted):
    """Under two limits."""

    NAME = "both"
    MAX_CONCURRENCY = 1
    CAN_OVERLAP = False


class Obstinate(_Counted):
    """One at a time; none of them obeys."""

    NAME = "obstinate"
    MAX_CONCURRENCY = 1

    def work(self) -> None:
        while not release.is_set():
            try:
                release.wait()
            except BaseException:
                disobeyed.append(self.id)


class ObstinateCoroutine(_Counted):
    """The same on the event loop."""

    NAME = "obstinate-coroutine"
    MAX_CONCURRENCY = 1

    async def start(self) -> str:  # type: ignore[override]
        at_work.append(self.id)
        started.append(self.id)
        most.append(len(at_work))
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                disobeyed.append(self.id)
        at_work.remove(self.id)
        return "done"


class Free(_Counted):
    """Under no limit of its own."""

    NAME = "free"


def wait_for_starts(count: int) -> None:
    wait_until(lambda: len(started) >= count, message=lambda: f"{count} starts: {started}")


def permits(worker: LiveWorker, pool: str) -> list[str]:
    keys = worker.helpers.keys
    key = keys.of(pool).permits(pool)
    return [one.decode() for one in worker.helpers.store._link.execute("ZRANGE", key, 0, -1)]


def waiting(worker: LiveWorker, pool: str) -> int:
    key = worker.helpers.keys.of(pool).waiting(pool)
    return int(worker.helpers.store._link.execute("ZCARD", key))


def nothing_is_held(worker: LiveWorker, *pools: str) -> None:
    wait_until(
        lambda: not any(permits(worker, pool) + [""] * waiting(worker, pool) for pool in pools)
    )


def test_no_more_run_than_the_limit_allows_and_all_end(serve: Serve) -> None:
    first, second = serve(Quick), serve(Quick)
    ids = first.helpers.start_tasks([("quick", {})] * 60)
    for task_id in ids:
        first.wait_for(task_id, "SUCCESS")
    assert sorted(started) == sorted(ids)
    assert max(most) <= 3
    nothing_is_held(second, "limit:quick")


def test_what_waits_for_a_limit_occupies_no_slot_and_counts_no_attempt(serve: Serve) -> None:
    worker = serve(Two, Free, concurrency=5)
    ids = worker.helpers.start_tasks([("two", {})] * 12)
    wait_for_starts(2)
    wait_until(lambda: waiting(worker, "limit:two") == 10)
    free = worker.start("free")
    wait_until(lambda: free in started)
    held_back = next(one for one in ids if one not in started)
    record = worker.record(held_back)
    assert (record["state"], record["attempts"]) == ("WAIT", "0")
    assert "reaps" not in record and "retries" not in record
    release.set()
    for task_id in ids:
        worker.wait_for(task_id, "SUCCESS")
        assert worker.record(task_id)["attempts"] == "1"


def test_tasks_are_called_in_the_order_they_came(serve: Serve) -> None:
    worker = serve(Both)
    ids = []
    for number in range(5):
        ids.append(worker.start("both"))
        wait_for_starts(1)
        wait_until(lambda number=number: waiting(worker, "overlap:both") == number)
    release.set()
    for task_id in ids:
        worker.wait_for(task_id, "SUCCESS")
    assert started == ids
    nothing_is_held(worker, "overlap:both", "limit:both")


def test_a_task_that_may_not_overlap_is_revoked_if_its_class_says_so(serve: Serve) -> None:
    worker = serve(One)
    first = worker.start("one")
    wait_for_starts(1)
    state, output = worker.run_task("one")
    assert state == "REVOKED"
    assert output == "refused by a limit: can_overlap=False: another 'one' task is running"
    release.set()
    worker.wait_for(first, "SUCCESS")
    nothing_is_held(worker, "overlap:one")
    assert worker.run_task("one")[0] == "SUCCESS"


def test_tasks_with_the_same_key_do_not_overlap(serve: Serve) -> None:
    worker = serve(PerKey)
    for account in ("a", "a", "b", 7, 7, None, None):
        worker.start("per-key", account=account)
    wait_for_starts(5)
    wait_until(lambda: waiting(worker, "overlap:per-key:a") == 1)
    wait_until(lambda: waiting(worker, "overlap:per-key:7") == 1)
    assert len(started) == 5
    release.set()
    wait_for_starts(7)


@pytest.mark.parametrize(
    ("account", "says"),
    [
        ("broken", "ValueError: no such account"),
        ("leaves", "SystemExit"),
        ([1], "can_overlap of 'per-key' returned [1]: True, False, or a text or number"),
    ],
)
def test_a_task_whose_key_cannot_be_known_ends_with_the_reason(
    serve: Serve, account: Any, says: str
) -> None:
    worker = serve(PerKey)
    release.set()
    state, output = worker.run_task("per-key", account=account)
    assert state == "EXCEPTION"
    assert says in output
    assert started == []
    assert worker.run_task("per-key", account=None)[0] == "SUCCESS"


def test_a_limit_can_be_given_for_one_task(serve: Serve) -> None:
    worker = serve(Free)
    first = worker.helpers.submit("free").id
    limited = [worker.helpers.submit("free", max_concurrency=1).id for _ in range(2)]
    wait_for_starts(2)
    wait_until(lambda: waiting(worker, "limit:free") == 1)
    refused = worker.helpers.submit("free", max_concurrency=1, on_limit="revoke").id
    assert "max_concurrency=1" in worker.wait_for(refused, "REVOKED")
    release.set()
    for task_id in (first, *limited):
        worker.wait_for(task_id, "SUCCESS")


def test_a_function_can_be_under_limits(serve: Serve) -> None:
    def prepare(app: Any) -> None:
        @app.task(name="pay", can_overlap=lambda account, amount=1: account.upper())
        def pay(account: str, amount: int = 1) -> str:
            started.append(account)
            release.wait()
            return account

        pay.submit("a")
        pay.submit("A", amount=2)
        pay.submit("b")

    worker = serve(prepare=prepare)
    wait_for_starts(2)
    wait_until(lambda: waiting(worker, "overlap:pay:A") == 1)
    release.set()
    wait_for_starts(3)


def let_its_time_come(worker: LiveWorker, task_id: str) -> None:
    """Make a task due that waits for a limit."""
    delayed = worker.helpers.keys.of(task_id).delayed
    store = worker.helpers.store
    wait_until(lambda: store._link.execute("ZADD", delayed, "XX", "CH", 1, task_id) == 1)


def test_a_task_that_only_waited_expires(serve: Serve) -> None:
    worker = serve(Two)
    worker.helpers.start_tasks([("two", {})] * 2)
    wait_for_starts(2)
    late = worker.helpers.submit("two", expires=600).id
    wait_until(lambda: waiting(worker, "limit:two") == 1)
    worker.helpers.store.write_fields(late, {"expires": "1"})
    let_its_time_come(worker, late)
    assert worker.wait_for(late, "REVOKED") == "expired before it was started"


def test_a_task_that_waits_can_be_stopped_and_restarted(serve: Serve) -> None:
    worker = serve(Two)
    ids = worker.helpers.start_tasks([("two", {})] * 3)
    wait_for_starts(2)
    wait_until(lambda: waiting(worker, "limit:two") == 1)
    (third,) = set(ids) - set(started)
    assert worker.helpers.stop_task(third)
    worker.wait_for(third, "STOPPED")
    release.set()
    wait_until(lambda: not at_work)
    assert third not in started
    worker.helpers.restart_task(third)
    worker.wait_for(third, "SUCCESS")


def test_a_run_that_is_reloaded_keeps_its_permit(serve: Serve) -> None:
    worker = serve(Both)
    task_id = worker.start("both")
    wait_for_starts(1)
    held = permits(worker, "overlap:both")
    worker.start("both")
    wait_until(lambda: waiting(worker, "overlap:both") == 1)
    assert worker.helpers.reload_task(task_id)
    wait_for_starts(2)
    assert started == [task_id, task_id]
    assert permits(worker, "overlap:both") == held
    assert len(held) == 1


def test_of_a_local_task_that_all_workers_start_one_runs_and_another_takes_over(
    serve: Serve,
) -> None:
    def prepare(app: Any) -> None:
        app.start_local_task("both")

    workers = [serve(Both, prepare=prepare) for _ in range(2)]
    wait_for_starts(1)
    wait_until(lambda: all(len(worker.parts.table) == 1 for worker in workers))
    assert len(at_work) == 1
    (leader,) = [one for one in workers if one.record(started[0])["worker"] == one.app.worker_id]
    leader.stop()
    wait_for_starts(2)
    assert len(at_work) == 1


def test_a_worker_that_ends_hands_its_permits_over(serve: Serve) -> None:
    first = serve(Two)
    ids = first.helpers.start_tasks([("two", {})] * 3)
    wait_for_starts(2)
    wait_until(lambda: waiting(first, "limit:two") == 1)
    second = serve(Two)
    first.stop()
    wait_for_starts(4)
    release.set()
    for task_id in ids:
        second.wait_for(task_id, "SUCCESS")
    assert max(most) == 2
    nothing_is_held(second, "limit:two")


@pytest.mark.parametrize("task", [Obstinate, ObstinateCoroutine])
def test_a_run_that_was_left_behind_keeps_its_permit_as_long_as_its_code_goes_on(
    serve: Serve, task: type[Task]
) -> None:
    limit = f"limit:{task.NAME}"
    worker = serve(task, stop_timeout=0.1)
    first = worker.start(task.NAME)
    wait_for_starts(1)
    second = worker.start(task.NAME)
    wait_until(lambda: waiting(worker, limit) == 1)
    worker.helpers.stop_task(first)
    worker.wait_for(first, "STOPPED")
    assert disobeyed == [first, first]
    assert started == [first]
    assert len(permits(worker, limit)) == 1
    release.set()
    worker.wait_for(second, "SUCCESS")
    assert max(most) == 1
    nothing_is_held(worker, limit)
    table = worker.parts.table
    assert (table.occupied, worker.free_slots) == (0, table.slots.total)


def test_a_run_that_was_left_behind_is_looked_at_from_time_to_time_only(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []
    run_once = Releaser.run_once
    monkeypatch.setattr(Releaser, "run_once", lambda self: (rounds.append(1), run_once(self)))
    worker = serve(Obstinate, stop_timeout=0.05)
    first = worker.start("obstinate")
    wait_for_starts(1)
    worker.helpers.stop_task(first)
    worker.wait_for(first, "STOPPED")
    rounds.clear()
    gevent.sleep(0.3)
    assert len(rounds) <= 12


def test_a_run_whose_permit_was_lost_goes_back_to_the_queue(serve: Serve) -> None:
    worker = serve(Both, beat_interval=0.1)
    worker.start("both")
    wait_for_starts(1)
    pool = "limit:both"
    worker.helpers.store._link.execute("DEL", worker.helpers.keys.of(pool).permits(pool))
    wait_for_starts(2)
    assert max(most) == 1


@pytest.mark.topologies("valkey")
def test_permits_that_cannot_be_renewed_stop_their_runs_before_they_run_out(serve: Serve) -> None:
    worker = serve(Two, beat_interval=0.1, redis_grace=0.4, worker_timeout=1)
    worker.start("two")
    wait_for_starts(1)
    held = worker.parts.permits

    def no_answer(store: Any) -> list[Any]:
        return []

    held.renew_if_due = no_answer
    wait_for_starts(2)
    assert max(most) == 1


def test_who_waits_comes_by_itself_when_nobody_calls(serve: Serve) -> None:
    worker = serve(Two)
    ids = worker.helpers.start_tasks([("two", {})] * 3)
    wait_for_starts(2)
    pool = "limit:two"
    wait_until(lambda: waiting(worker, pool) == 1)
    (third,) = set(ids) - set(started)
    worker.helpers.store._link.execute("DEL", worker.helpers.keys.of(pool).waiting(pool))
    release.set()
    wait_until(lambda: not at_work)
    let_its_time_come(worker, third)
    for task_id in ids:
        worker.wait_for(task_id, "SUCCESS")


@pytest.mark.topologies("valkey")
def test_thousands_that_wait_cost_a_few_calls(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    run = Calls._run

    def counted(self: Any, name: str, *args: Any) -> Any:
        calls[name] += 1
        return run(self, name, *args)

    monkeypatch.setattr(Calls, "_run", counted)
    worker = serve(Two)
    ids = worker.helpers.start_tasks([("two", {})] * 3_000)
    wait_until(lambda: waiting(worker, "limit:two") == len(ids) - 2)
    aside = sum(calls[name] for name in ("acquire_permits", "requeue", "release_permits"))
    assert aside < len(ids) / 10
    assert len(started) == 2
    # Nobody is claimed once more only to be told to wait.
    claims = calls["requeue"]
    beats = calls["beat_worker"]
    wait_until(lambda: calls["beat_worker"] > beats + 2)
    assert calls["requeue"] <= claims + 2
