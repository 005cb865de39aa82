"""Results and ends: typed errors, callbacks, waiting for stages, and who waits where."""

import asyncio
import json
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import gevent
import gevent.subprocess
import pytest

from pytask import (
    InvalidTask,
    PyTask,
    PyTaskHelpers,
    RedisUnavailable,
    State,
    TaskCrashed,
    TaskError,
    TaskFailed,
    TaskNotFound,
    TaskRevoked,
    TaskStopped,
    WaitTimeout,
)
from pytask.exceptions import UnknownTask
from tests.support.process import bare_environment
from tests.support.waiting import wait_until
from tests.support.worker import ROOT
from tests.worker import tasks_of_results as tasks
from tests.worker.conftest import LiveWorker, Serve

pytestmark = pytest.mark.topologies("valkey")

PATIENCE = 30.0
MODES = ["in-greenlet", "in-thread", "in-process", "in-asyncio"]
each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def worker(serve: Serve) -> LiveWorker:
    return serve(*tasks.EACH, stop_timeout=0.5, process_pool_size=1)


def failure(worker: LiveWorker, task: str, data: dict[str, Any], **options: Any) -> TaskFailed:
    raises = options.pop("raises", ())
    future = worker.helpers.submit(task, data, **options)
    with pytest.raises(TaskFailed) as caught:
        future.result(PATIENCE, raises=raises)
    return caught.value


# Typed errors


@each_mode
def test_an_error_carries_what_the_task_raised_in_every_mode(worker: LiveWorker, mode: str) -> None:
    error = failure(worker, mode, {"what": "sold_out"})
    assert type(error) is TaskCrashed and error.state == "EXCEPTION"
    assert error.type == "tests.worker.tasks_of_results.SoldOut"
    assert error.types[1:3] == ("tests.worker.tasks_of_results.NoStock", "builtins.Exception")
    assert error.message == "tea: 0 left"
    assert 'raise SoldOut("tea", 0)' in (error.remote_traceback or "")
    assert "In the worker:" in str(error)

    error = failure(worker, mode, {"what": "error"})
    assert type(error) is TaskError
    assert (error.output, error.type) == (["expected", 3], "pytask.task.Task.Error")
    assert "raise self.Error" in (error.remote_traceback or "")


def test_each_unsuccessful_state_has_a_class(worker: LiveWorker) -> None:
    assert type(failure(worker, "in-greenlet", {"what": "gives_up"})) is TaskError
    revoked = failure(worker, "limited", {"what": "waits"})
    assert (type(revoked), revoked.state) == (TaskRevoked, "REVOKED")
    assert (revoked.type, revoked.remote_traceback) == (None, None)
    future = worker.helpers.submit("in-greenlet", {"what": "waits"})
    assert future.wait(PATIENCE, until="started") == "RUNNING"
    future.stop()
    with pytest.raises(TaskStopped, match=f"task {future.id} ended as STOPPED"):
        future.result(PATIENCE)


@pytest.mark.parametrize(
    ("what", "known"),
    [
        ("sold_out", tasks.SoldOut),
        ("sold_out", tasks.NoStock),
        ("os_error", FileNotFoundError),
        ("os_error", OSError),
        ("sold_out", Exception),
    ],
)
def test_a_class_of_the_caller_catches_what_the_task_raised(
    worker: LiveWorker, what: str, known: type[Exception]
) -> None:
    error = failure(worker, "in-greenlet", {"what": what}, raises=[KeyError, known])
    assert isinstance(error, TaskCrashed) and isinstance(error, known)
    assert not isinstance(error, KeyError)
    assert error.remote_traceback in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (TaskCrashed, str(error))


def test_a_class_that_cannot_be_mixed_in_is_left_out(worker: LiveWorker) -> None:
    error = failure(worker, "in-greenlet", {"what": "group"}, raises=[ExceptionGroup])
    assert type(error) is TaskCrashed and error.type == "builtins.ExceptionGroup"


def test_a_task_that_succeeds_after_a_restart_says_nothing_of_its_failure(
    worker: LiveWorker,
) -> None:
    future = worker.helpers.submit("in-greenlet", {"what": "error"}, cleanup=False)
    future.wait(PATIENCE)
    assert "error" in worker.record(future.id)
    worker.helpers.set_task(future.id, "data", {})
    worker.helpers.restart_task(future.id)
    assert worker.helpers.future(future.id).result(PATIENCE) == 5
    assert "error" not in worker.record(future.id)


def test_an_unknown_task_is_a_crash_with_a_message(worker: LiveWorker) -> None:
    error = failure(worker, "nonsense", {})
    assert isinstance(error, TaskCrashed) and "nonsense" in error.message


# Callbacks


def test_a_callback_is_told_of_the_end_once(worker: LiveWorker) -> None:
    told: list[Any] = []
    future = worker.helpers.submit("in-greenlet", callback=told.append)
    assert future.wait(PATIENCE) == "SUCCESS"
    wait_until(lambda: told == [future])
    assert told[0].result(0) == 5
    # It is over already, and a callback of a handle that never listened.
    worker.helpers.future(future.id).add_done_callback(lambda one: told.append(one.result()))
    future.add_done_callback(lambda one: told.append("again"))
    wait_until(lambda: sorted(map(str, told[1:])) == ["5", "again"])


def test_a_callback_is_told_of_a_task_that_does_not_exist(worker: LiveWorker) -> None:
    told: list[Any] = []

    def tell(future: Any) -> None:
        with pytest.raises(TaskNotFound, match="nowhere"):
            future.result(0)
        told.append(future.id)

    worker.helpers.future("nowhere").add_done_callback(tell)
    wait_until(lambda: told == ["nowhere"])


def test_a_callback_that_raises_is_logged_and_the_others_are_called(
    worker: LiveWorker, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    future = worker.helpers.submit("in-greenlet", callback=lambda one: 1 / 0)
    future.add_done_callback(told.append)
    wait_until(lambda: told == [future])
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_may_wait_for_another_task(worker: LiveWorker) -> None:
    told: list[Any] = []

    def next_one(future: Any) -> None:
        told.append(worker.helpers.submit("in-greenlet", {"value": 6}).result(PATIENCE))

    worker.helpers.submit("in-greenlet", callback=next_one)
    wait_until(lambda: told == [6], message=lambda: f"{told}")


def subscribers(raw: Any, helpers: Any) -> int:
    """How many connections are subscribed to channels of tasks of these helpers."""
    prefix = helpers.keys.task_prefix
    channels = [name for name in raw.pubsub_channels(f"{prefix}\1*")]
    return len(channels)


def test_a_thousand_futures_share_one_connection(worker: LiveWorker, raw: Any) -> None:
    told: list[Any] = []
    submit = worker.helpers.submit
    futures = [
        submit("in-greenlet", {"value": number}, callback=told.append) for number in range(1_000)
    ]
    assert subscribers(raw, worker.helpers) == 1
    assert [future.result(PATIENCE) for future in futures] == list(range(1_000))
    wait_until(lambda: len(told) == 1_000)
    waiters = list(worker.helpers._waiters.values())
    assert len(waiters) == 1
    # Nothing is held for those that are over.
    wait_until(lambda: not waiters[0]._watches, message=lambda: f"{len(waiters[0]._watches)}")


# Stages


def test_waiting_for_queued_lasts_until_a_delay_is_over(worker: LiveWorker) -> None:
    future = worker.helpers.submit("in-greenlet", {"what": "waits"}, delay=600)
    with pytest.raises(WaitTimeout, match=f"task {future.id} is not queued within 0.3 s"):
        future.wait(0.3, until="queued")
    with pytest.raises(WaitTimeout):
        future.wait(0, until="queued")
    soon = worker.helpers.submit("in-greenlet", delay=0.5, cleanup=False)
    assert soon.wait(PATIENCE, until="queued") in ("WAIT", "RUNNING", "SUCCESS")
    assert soon.wait(PATIENCE) == "SUCCESS"
    assert soon.wait(until="queued") == "SUCCESS"


def test_what_waits_in_a_queue_is_queued_and_not_started(worker: LiveWorker) -> None:
    future = worker.helpers.submit("in-greenlet", queue="nobody-serves-it")
    assert future.wait(PATIENCE, until="queued") == "WAIT"
    assert future.wait(0, until="queued") == "WAIT"
    for timeout in (0, 0.2):
        with pytest.raises(WaitTimeout, match="is not started"):
            future.wait(timeout, until="started")
    with pytest.raises(ValueError, match="until='ready': one of queued, started, done"):
        future.wait(until="ready")


def test_a_look_without_waiting_answers_at_once(worker: LiveWorker) -> None:
    future = worker.helpers.submit("in-greenlet", {"what": "waits"}, cleanup=False)
    future.wait(PATIENCE, until="started")
    assert future.wait(0, until="started") == "RUNNING"
    with pytest.raises(WaitTimeout):
        future.result(0)
    future.stop()
    wait_until(future.done)
    assert worker.helpers.future(future.id).wait(0) == "STOPPED"
    with pytest.raises(TaskStopped):
        worker.helpers.future(future.id).result(0)
    with pytest.raises(TaskNotFound):
        worker.helpers.future("nowhere").wait(0)


def trouble_of(future: Any, kind: type[Exception]) -> Exception:
    with pytest.raises(kind) as caught:
        future.wait()
    return caught.value


def test_a_removed_task_ends_the_wait(worker: LiveWorker) -> None:
    future = worker.helpers.submit("in-greenlet", queue="nobody-serves-it")
    waiting = gevent.spawn(trouble_of, future, TaskNotFound)
    future.wait(PATIENCE, until="queued")
    worker.helpers.remove_task(future.id)
    waiting.get(timeout=PATIENCE)


# Trouble


def test_a_lost_connection_is_noticed_and_nobody_hangs(worker: LiveWorker, raw: Any) -> None:
    futures = [worker.helpers.submit("in-greenlet", {"what": "waits"}) for _ in range(5)]
    waiting = [gevent.spawn(one.wait, PATIENCE) for one in futures]
    for one in futures:
        one.wait(PATIENCE, until="started")
    raw.client_kill_filter(_type="pubsub")
    for one in futures:
        wait_until(one.stop)
    assert [one.get(timeout=PATIENCE) for one in waiting] == ["STOPPED"] * 5


def test_futures_are_made_and_waited_for_while_connections_are_cut(
    worker: LiveWorker, raw: Any
) -> None:
    found = []
    for value in range(30):
        future = worker.helpers.submit("in-greenlet", {"value": value}, cleanup=False)
        waiting = gevent.spawn(future.result, PATIENCE)
        raw.client_kill_filter(_type="pubsub")
        found.append(waiting)
    assert [one.get(timeout=PATIENCE) for one in found] == list(range(30))


def test_closing_the_helpers_wakes_who_waits(address: Any, namespace: Any) -> None:
    helpers = PyTaskHelpers(address, **namespace.options)
    future = helpers.submit("never")
    waiting = gevent.spawn(trouble_of, future, RedisUnavailable)
    future.wait(PATIENCE, until="queued")
    gevent.sleep(0)
    helpers.close()
    error = waiting.get(timeout=PATIENCE)
    assert "closed while the task was waited for" in str(error)


def test_a_redis_that_does_not_answer_ends_the_wait(disposable_server: Any, namespace: Any) -> None:
    server = disposable_server("valkey")
    helpers = PyTaskHelpers(server.url, **namespace.options, redis_patience=0.5)
    future = helpers.submit("never")
    future.wait(PATIENCE, until="queued")
    waiting = gevent.spawn(trouble_of, future, RedisUnavailable)
    gevent.sleep(0)
    server.kill()
    waiting.get(timeout=PATIENCE)
    helpers.close()


# From tasks


@each_mode
def test_a_task_is_recorded_as_the_one_that_started_others(worker: LiveWorker, mode: str) -> None:
    state, children = worker.run_task(mode, what="parent")
    assert state == "SUCCESS", children
    parents = {worker.record(one).get("from_task") for one in children}
    (parent,) = parents
    assert parent and worker.helpers.get_task(parent) != children
    assert "from_task" not in worker.record(worker.start("in-greenlet", value=1))


# Running at once


@each_mode
def test_a_task_is_executed_at_once_without_a_worker(app: Any, mode: str) -> None:
    one: PyTask = app(*tasks.EACH, at="redis://127.0.0.1:1/0")
    assert one.execute(mode, value={"a": [1]}) == {"a": [1]}
    is_current, task_id, attempt = one.execute(mode, what="who")
    assert (is_current, attempt) == (True, 1) and task_id
    if mode != "in-process":
        with pytest.raises(tasks.SoldOut, match="tea: 0 left"):
            one.execute(mode, what="sold_out")
        with pytest.raises(one._registry.get(mode).task_class.Error):
            one.execute(mode, what="error")


def test_what_a_child_process_raised_comes_from_execute_as_a_typed_error(app: Any) -> None:
    one: PyTask = app(*tasks.EACH, at="redis://127.0.0.1:1/0")
    with pytest.raises(TaskCrashed, match="tea: 0 left") as caught:
        one.execute("in-process", what="sold_out")
    assert caught.value.type == "tests.worker.tasks_of_results.SoldOut"
    with pytest.raises(TaskError) as caught:
        one.execute("in-process", what="error")
    assert caught.value.output == ["expected", 3]


def count(number: int) -> int:
    return number


def test_execute_checks_data_and_result_and_enters_the_context(app: Any) -> None:
    entered: list[str] = []

    class Context:
        def __enter__(self) -> None:
            entered.append("in")

        def __exit__(self, *details: Any) -> None:
            entered.append("out")

    class InContext(tasks.InGreenlet):
        NAME = "in-context"
        provide_context = Context

        def start(self) -> list[str]:
            return [*entered]

    one: PyTask = app(InContext, *tasks.EACH, at="redis://127.0.0.1:1/0")
    one.task(name="count")(count)
    assert one.execute("in-context") == ["in"]
    assert entered == ["in", "out"]
    assert one.execute("count", number=2) == 2
    with pytest.raises(InvalidTask, match="argument 'number'"):
        one.execute("count", number="x")
    with pytest.raises(InvalidTask):
        one.execute("in-greenlet", value=object())
    one.task(name="odd")(lambda: object())
    with pytest.raises(InvalidTask, match="not JSON"):
        one.execute("odd")
    with pytest.raises(UnknownTask, match="nonsense"):
        one.execute("nonsense")


def test_a_task_executed_inside_a_task_is_not_taken_for_it(app: Any) -> None:
    from pytask import current_task

    one: PyTask = app(at="redis://127.0.0.1:1/0")
    one.task(name="inner")(lambda: current_task().id)

    @one.task(name="outer")
    def outer() -> list[str]:
        before = current_task().id
        return [before, one.execute("inner"), current_task().id]

    before, inner, after = one.execute("outer")
    assert before == after != inner


# Threads


def test_plain_threads_wait_side_by_side(worker: LiveWorker) -> None:
    found: list[State] = []
    futures = [worker.helpers.submit("in-greenlet", {"value": one}) for one in range(8)]
    threads = [
        threading.Thread(target=lambda one=one: found.append(one.result(PATIENCE)))
        for one in futures
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(found) == sorted([*range(8)] * 2)


# asyncio


def test_event_loops_of_an_unpatched_program_await_futures(
    worker: LiveWorker, address: Any, namespace: Any
) -> None:
    program = str(Path(__file__).with_name("awaiting_program.py"))
    done = gevent.subprocess.run(
        [sys.executable, program, str(address), json.dumps(namespace.options)],
        cwd=ROOT,
        env={**bare_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=90,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    loops, values, told, listeners, has_gevent = json.loads(done.stdout)
    assert loops == [[["TaskCrashed", "TaskNotFound"], 53]] * 3
    assert (values, told) == (["plain"] * 5, ["told"])
    # One listener for three loops and all the threads; and an event loop needs no gevent.
    assert (listeners, has_gevent) == (1, False)


def test_a_program_that_gevent_has_patched_may_await_too(worker: LiveWorker) -> None:
    future = worker.helpers.submit("in-greenlet", {"value": 7}, watch=True)
    found: list[Any] = []

    async def main() -> None:
        found.append(await future)

    # Its selector waits as greenlets do, so the worker beside it goes on.
    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert found == [7]


def test_a_native_thread_of_a_patched_program_may_await(worker: LiveWorker) -> None:
    future = worker.helpers.submit("in-greenlet", {"value": 7}, watch=True)

    async def main() -> Any:
        return await asyncio.wait_for(future, PATIENCE)

    # Its hub is another one, and so must be the sockets it waits for.
    found = gevent.get_hub().threadpool.apply(lambda: asyncio.run(main()))
    assert found == 7
