"""F40 to F45, and F48 to F50: data that are not as pytask wrote them, and messages from anybody."""

import json
import os
import re
import time
from collections import Counter
from typing import Any

import pytest

from pytask import PyTaskHelpers
from pytask.exceptions import PartitionMismatch
from pytask.keys import Keys
from tests.faults.account import TUNED, left_behind, wait_ended_once
from tests.faults.conftest import CLEANUP, FAST, MONITOR, Launch, Recovery, of_state, state_of
from tests.support.namespace import Namespace
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

pytestmark = pytest.mark.topologies("valkey")

#: A Monitor that looks at everything each second.
EAGER = f'{MONITOR}={{"loop_interval": 1}}'


@pytest.fixture
def names(helpers: Any) -> Any:
    """The keys of the one partition there is."""
    return helpers.keys.partitions[0]


def starts_of(worker: WorkerProcess, task_id: str) -> int:
    return sum(one["event"] == "echo" and one["id"] == task_id for one in worker.events)


def test_f40_an_id_pushed_many_times_or_while_it_runs_or_after_its_end_runs_once(
    launch: Launch, helpers: Any, raw: Any, names: Any
) -> None:
    counts = {"twice": 2, "often": 50, "thousand": 1000}
    for one, count in counts.items():
        raw.hset(names.record(one), mapping={"task": "echo", "data": "{}"})
        raw.lpush(names.new_queue(), *[one] * count)
    worker = launch(MONITOR)
    of_state(helpers, list(counts), "SUCCESS")
    running = helpers.start_task("sleeper", "running", seconds=1)
    worker.wait_for_event("started", id=running)
    raw.lpush(names.new_queue(), running, *counts, running)
    wait_ended_once(helpers, [*counts, running])
    assert [starts_of(worker, one) for one in counts] == [1, 1, 1]
    assert len([one for one in worker.events if one["event"] == "started"]) == 1


def test_f41_an_id_pushed_before_its_record_waits_for_it_and_one_without_is_reported(
    launch: Launch, helpers: Any, raw: Any, names: Any
) -> None:
    worker = launch(missing_grace=2.0)
    raw.lpush(names.new_queue(), "late", "never")
    time.sleep(0.1)
    raw.hset(names.record("late"), mapping={"task": "echo", "data": '{"value": 1}'})
    recovery = Recovery(1.0)
    of_state(helpers, ["late"], "SUCCESS")
    recovery.check()
    worker.wait_for_line("WARNING .*ID never on the queue has no record; it is dropped")
    wait_ended_once(helpers, ["late"])
    assert not raw.exists(names.record("never"), names.missing())


@pytest.mark.slow
def test_f42_a_record_that_stands_in_no_list_is_found_and_put_back(
    launch: Launch, helpers: Any, raw: Any, names: Any
) -> None:
    worker = launch(EAGER, program=TUNED, **FAST)
    # A Monitor that found all in order mends with each sixth check.
    running = helpers.start_task("sleeper", "running", seconds=20)
    worker.wait_for_event("started", id=running)
    raw.srem(names.tasks, running)
    helpers.submit("echo", task_id="waiting", queue="elsewhere")
    raw.lrem(names.new_queue("elsewhere"), 0, "waiting")
    raw.hset(names.record("made"), mapping={"task": "echo", "data": "{}", "state": "WAIT"})
    raw.hset(
        names.record("ended"),
        mapping={"task": "echo", "data": "{}", "state": "SUCCESS", "output": "1"},
    )
    of_state(helpers, ["made"], "SUCCESS")
    wait_until(lambda: helpers.get_new_task_ids("elsewhere") == ["waiting"])
    wait_until(lambda: "ended" in helpers.get_end_task_ids())
    wait_until(lambda: running in helpers.get_active_task_ids())
    for one in ("running", "waiting", "made", "ended"):
        worker.wait_for_line(f"Task {one} was in no list; it is back where it belongs")
    wait_ended_once(helpers, [running, "made", "ended"])
    assert helpers.get_task(running, "attempts") == "1"


@pytest.mark.slow
def test_f43_entries_without_a_record_and_runs_without_a_lease_are_mended(
    launch: Launch, helpers: Any, raw: Any, names: Any
) -> None:
    # Of a worker that is gone, and out of the index: nobody would ever find it stale.
    orphan = {"task": "echo", "data": "{}", "state": "RUNNING", "run": "1-x", "worker": "gone"}
    raw.hset(names.record("orphan"), mapping={**orphan, "last_update": "1", "attempts": "1"})
    raw.sadd(names.tasks, "orphan", "ghost")
    raw.zadd(names.leases, {"phantom": 1.0})
    worker = launch(EAGER, CLEANUP, program=TUNED, **FAST)
    worker.wait_for_event("echo", id="orphan", attempt=2)
    worker.wait_for_line("Mended task ghost: no_record")
    worker.wait_for_line("Mended task orphan: no_lease")
    worker.wait_for_line("Task phantom lost its worker: it has no record, the lease is dropped")
    # The end queue says that a task ended which waits, and twice that one did which has.
    helpers.submit("echo", task_id="waits", queue="elsewhere")
    helpers.submit("echo", task_id="kept", cleanup=False)
    of_state(helpers, ["kept"], "SUCCESS")
    raw.lpush(names.end_queue, "waits", "kept", "kept", "nothing")
    wait_until(lambda: not helpers.get_end_task_ids() and not left_behind_but(helpers, "kept"))
    assert state_of(helpers, "waits") == "WAIT"
    assert helpers.get_new_task_ids("elsewhere") == ["waits"]
    assert worker.running


def left_behind_but(helpers: Any, task_id: str) -> dict[str, Any]:
    """What is left apart from a task that keeps its record."""
    left = left_behind(helpers)
    if left.get("active") == [task_id]:
        del left["active"]
    return left


#: What the worker runs into with each of its keys; a record is another matter.
KEYS = {
    "new": lambda names: names.new_queue(),
    "tasks": lambda names: names.tasks,
    "leases": lambda names: names.leases,
    "claims": lambda names: names.claims,
    "end": lambda names: names.end_queue,
    "delayed": lambda names: names.delayed,
    "missing": lambda names: names.missing(),
}


@pytest.mark.slow
@pytest.mark.topologies("cluster")
def test_f44_a_key_of_another_type_is_named_and_holds_up_its_own_partition_only(
    launch: Launch, helpers: Any, raw: Any
) -> None:
    worker = launch(MONITOR, block_seconds=1.0)
    broken, other = helpers.keys.partitions[0], helpers.keys.partitions[1]
    numbers = iter(range(10**6))

    def id_in(partition: Any) -> str:
        return next(
            one
            for one in map("task{}".format, numbers)
            if helpers.keys.partition_of(one) == partition.number
        )

    for name, key_of in KEYS.items():
        key = key_of(broken)
        held = id_in(broken)
        helpers.submit("echo", task_id=held, delay=0.3)
        kind = raw.type(key)
        raw.rename(key, key + ":away") if kind != "none" else None
        raw.set(key, "text")
        worker.wait_for_line(rf"WrongKeyType: WRONGTYPE key {re.escape(key)} holds a string")
        free = helpers.start_task("echo", id_in(other))
        of_state(helpers, [free], "SUCCESS")
        assert raw.get(key) == "text", name
        raw.delete(key)
        raw.rename(key + ":away", key) if kind != "none" else None
        of_state(helpers, [held], "SUCCESS")
    taken = id_in(broken)
    raw.set(broken.record(taken), "text")
    raw.lpush(broken.new_queue(), taken)
    worker.wait_for_line(f"key of task {taken} is not a hash")
    of_state(helpers, [helpers.start_task("echo", id_in(broken))], "SUCCESS")
    assert raw.get(broken.record(taken)) == "text"
    assert worker.running


DATA: dict[str, bytes] = {
    "no json": b'{"value": ',
    "not an object": b"[]",
    "a number": b"12345678901234567890",
    "nan": b'{"value": NaN}',
    "no text": b'{"value": "\xff\xfe"}',
    "unknown argument": b'{"valeu": 1}',
    "very deep": b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "empty": b"",
}

GOOD: dict[str, bytes] = {
    "huge integer": b'{"value": 12345678901234567890123}',
    "precise integer": b'{"value": 9007199254740993}',
    "empty array": b'{"value": []}',
    "ten megabytes": b'{"value": "' + b"x" * 300_000 + b'"}',
    "odd\nid {with} braces and spaces": b'{"value": null}',
    "i" * 100_000: b"{}",
}


def test_f45_malformed_data_end_their_own_task_only_and_odd_data_survive(
    launch: Launch, helpers: Any, raw: Any, names: Any
) -> None:
    worker = launch(MONITOR)
    for task_id, data in {**DATA, **GOOD}.items():
        raw.hset(names.record(task_id), mapping={"task": "echo", "data": data})
    raw.hset(names.record("unknown task"), mapping={"task": "nobody/knows", "data": "{}"})
    raw.hset(names.record("unknown fields"), mapping={"task": "echo", "data": "{}", "run": "7"})
    ids = [*DATA, *GOOD, "unknown task", "unknown fields"]
    raw.lpush(names.new_queue(), *ids)
    of_state(helpers, [*DATA, "unknown task"], "EXCEPTION")
    of_state(helpers, [*GOOD, "unknown fields"], "SUCCESS")
    for task_id, data in GOOD.items():
        if data != b"{}":
            given = json.loads(data)["value"]
            assert json.loads(helpers.get_task(task_id, "output")) == given
    assert {helpers.get_task(one, "attempts") for one in ids} == {"1"}
    assert Counter(helpers.get_end_task_ids()) == Counter(ids)
    of_state(helpers, [helpers.start_task("echo")], "SUCCESS")
    assert worker.running


@pytest.mark.parametrize("fault", ["deleted", "renamed", "expired", "edited", "flushed"])
def test_f48_a_record_changed_under_its_run_ends_the_run_which_writes_nothing(
    disposable_server: Any, launch: Launch, namespace: Namespace, fault: str
) -> None:
    server = disposable_server("valkey")
    with PyTaskHelpers(server.url, **namespace.options) as helpers:
        raw = server.client()
        names = helpers.keys.partitions[0]
        worker = launch(MONITOR, at=server.url, **FAST)
        task_id = helpers.start_task("ticker")
        worker.wait_for_event("tick", id=task_id)
        record = names.record(task_id)
        expected: dict[str, str] = {}
        if fault == "deleted":
            raw.delete(record)
        elif fault == "renamed":
            raw.rename(record, "elsewhere")
        elif fault == "expired":
            raw.pexpire(record, 1)
        elif fault == "edited":
            raw.hset(record, "run", "2-somebody")
        else:
            raw.flushall()
        recovery = Recovery(2.0)
        worker.wait_for_line(f"task {task_id} .* is not ours any more")
        wait_until(lambda: is_quiet(worker))
        recovery.check()
        if fault == "edited":
            expected = {**raw.hgetall(record), "run": "2-somebody", "state": "RUNNING"}
        time.sleep(0.3)
        assert raw.hgetall(record) == expected
        of_state(helpers, [helpers.start_task("echo")], "SUCCESS")
        assert worker.stop() == 0


def is_quiet(worker: WorkerProcess) -> bool:
    """Whether the ticker has stopped ticking."""
    ticks = [one["at"] for one in worker.events if one["event"] == "tick"]
    return time.time() - ticks[-1] > 0.2


def test_f49_messages_from_anybody_change_nothing_but_what_they_ask_for(
    launch: Launch, helpers: Any, raw: Any, namespace: Namespace
) -> None:
    worker = launch(MONITOR)
    task_id = helpers.start_task("ticker")
    worker.wait_for_event("tick", id=task_id)
    before = helpers.get_task(task_id)
    own = f"{namespace.task_prefix}{task_id}-control"
    garbage: list[bytes] = [
        b"",
        b"STOP",
        b"stop:now",
        b"stop\x00",
        b"\xff\xfe\x00",
        b"{" * 10_000,
        b'{"command": "stop"}',
        os.urandom(100_000),
        b"x" * 3_000_000,
        b'[{"jsonrpc":"2.0","method":"stop_task","params":["*"]}]' * 1000,
    ]
    for message in garbage:
        raw.publish(own, message)
        raw.publish(f"{namespace.task_prefix}-control", message)
        raw.publish(f"{namespace.task_prefix}unknown-control", message)
        raw.publish(f"{namespace.task_prefix}*-control", message)
    for unknown in (b"stop", b"reload", b"reload:" + b"9" * 100_000):
        raw.publish(f"{namespace.task_prefix}unknown-control", unknown)
    wait_until(lambda: worker.output.count("is unknown and ignored") >= len(garbage))
    after = helpers.get_task(task_id)
    assert {**before, "last_update": ""} == {**after, "last_update": ""}
    assert max(map(len, worker.output.splitlines())) < 2_000, "garbage is not logged as a whole"
    helpers.stop_task(task_id)
    recovery = Recovery(1.0)
    of_state(helpers, [task_id], "STOPPED")
    recovery.check()
    assert worker.stop() == 0


@pytest.mark.topologies("cluster")
def test_f50_a_worker_or_client_with_another_number_of_partitions_refuses_to_start(
    launch: Launch, helpers: Any, address: Any, namespace: Namespace, dump: Any
) -> None:
    task_id = helpers.start_task("echo")
    before = dump()
    worker = launch(wait=False, **{"partitions": 7})
    assert worker.wait() != 0
    both = r"partitions=7, but .* spread over 4"
    worker.wait_for_line(both)
    with (
        PyTaskHelpers(address, **{**namespace.options, "partitions": 7}) as other,
        pytest.raises(PartitionMismatch, match=both),
    ):
        other.start_task("echo")
    assert dump() == before
    assert Keys(**namespace.names, partitions=4, tagged=True).of(task_id)
    launch()
    of_state(helpers, [task_id], "SUCCESS")
