"""Running until idle, and cleaning up."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from pytask import PyTask, Task
from pytask.exceptions import ConfigurationError
from pytask.policy import Policy
from pytask.testing import NotIdle, clean_up, idle, run_until_idle


def state_of(app: PyTask, task_id: str) -> str | None:
    return app.helpers.get_task(task_id, "state")


def test_what_waits_has_run_when_it_returns(pytask_app: PyTask) -> None:
    done: list[int] = []
    pytask_app.task(name="note")(done.append)
    ids = pytask_app.helpers.start_tasks([("note", {"object": one}) for one in range(300)])
    run_until_idle(pytask_app)
    assert sorted(done) == list(range(300))
    assert {state_of(pytask_app, one) for one in ids} == {"SUCCESS"}
    assert pytask_app.running == 0


def test_tasks_that_start_tasks_are_followed_to_the_last(pytask_app: PyTask) -> None:
    seen: list[int] = []

    @pytask_app.task
    def count(left: int) -> None:
        seen.append(left)
        gevent.sleep(0.001)
        if left:
            count.submit(left - 1)

    count.submit(20)
    run_until_idle(pytask_app)
    assert seen == list(range(20, -1, -1))


def test_nothing_to_do_is_done_at_once_and_again_and_again(pytask_app: PyTask) -> None:
    for _ in range(3):
        run_until_idle(pytask_app)


def test_all_queues_of_the_app_are_served_and_no_other(
    pytask_isolate: Callable[..., PyTask], pytask_server: Any
) -> None:
    app = pytask_isolate(PyTask(pytask_server.url), queues=("mail", "default"))
    app.task(name="note")(lambda: None)
    ids = [app.helpers.submit("note", queue=queue).id for queue in ("mail", "default", "other")]
    run_until_idle(app)
    assert [state_of(app, one) for one in ids] == ["SUCCESS", "SUCCESS", "WAIT"]


def test_local_tasks_run_meanwhile_and_do_not_count(pytask_app: PyTask) -> None:
    started = []

    class Service(Task):
        def start(self) -> None:
            started.append(self.id)
            gevent.sleep(600)

    pytask_app.add_task(Service)
    pytask_app.start_local_task("Service")

    @pytask_app.task
    def after_it() -> None:
        while not started:
            gevent.sleep(0.01)

    after_it.submit()
    run_until_idle(pytask_app)
    assert started


@pytest.mark.skipif("max_concurrency" not in Policy.__slots__, reason="there are no limits")
def test_what_a_limit_holds_back_is_waited_for(pytask_app: PyTask) -> None:
    done: list[int] = []

    @pytask_app.task(max_concurrency=1)
    def alone(number: int) -> None:
        gevent.sleep(0.02)
        done.append(number)

    for number in range(6):
        alone.submit(number)
    run_until_idle(pytask_app)
    assert sorted(done) == list(range(6))


def test_a_report_says_what_is_left(pytask_app: PyTask, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    looks: list[float] = []

    def monotonic() -> float:
        """Have the time over at the second look after the task has started."""
        if started:
            looks.append(0.0)
        return 601.0 if len(looks) > 1 else 0.0

    @pytask_app.task
    def endless() -> None:
        started.append("")
        gevent.sleep(3600)

    monkeypatch.setattr(idle, "time", SimpleNamespace(monotonic=monotonic))
    pytask_app.configure(concurrency=1)
    pytask_app.helpers.submit("endless", task_id="runs")
    pytask_app.helpers.submit("endless", task_id="waits")
    with pytest.raises(NotIdle) as caught:
        run_until_idle(pytask_app, timeout=600)
    text = str(caught.value)
    assert "still something to do after 600 s" in text
    assert "1 tasks wait: waits (endless)" in text
    assert "1 tasks run: runs (endless)" in text
    assert state_of(pytask_app, "runs") == "WAIT", "it was stopped and given back"


def test_what_ends_the_worker_is_raised(
    pytask_app: PyTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("no Redis for you")

    monkeypatch.setattr(pytask_app, "run", fail)
    with pytest.raises(RuntimeError, match="no Redis for you"):
        run_until_idle(pytask_app)


def test_it_refuses_a_second_worker_of_one_app(pytask_app: PyTask) -> None:
    caught: list[Exception] = []

    @pytask_app.task
    def nested() -> None:
        try:
            run_until_idle(pytask_app)
        except ConfigurationError as error:
            caught.append(error)

    nested.submit()
    run_until_idle(pytask_app)
    assert "runs already" in str(caught[0])


def test_clean_up_hands_over_what_ended_and_keeps_failures(pytask_app: PyTask) -> None:
    pytask_app.task(name="good")(lambda: 5)
    pytask_app.task(name="bad")(lambda: 1 / 0)
    good, bad = (pytask_app.helpers.submit(name).id for name in ("good", "bad"))
    run_until_idle(pytask_app)
    seen: dict[str, str] = {}
    number = clean_up(pytask_app, lambda task_id, record: seen.update({task_id: record["state"]}))
    assert (number, seen) == (2, {good: "SUCCESS", bad: "EXCEPTION"})
    assert state_of(pytask_app, good) is None
    assert state_of(pytask_app, bad) == "EXCEPTION"
    assert clean_up(pytask_app) == 0


def test_clean_up_keeps_results_as_the_app_says(pytask_app: PyTask) -> None:
    pytask_app.configure(keep_results=600)
    pytask_app.task(name="good")(lambda: 5)
    future = pytask_app.helpers.submit("good")
    run_until_idle(pytask_app)
    assert clean_up(pytask_app) == 1
    assert pytask_app.helpers.future(future.id).result(0) == 5


def test_a_test_leaves_no_keys_and_no_threads_behind(
    pytask_server: Any, wait_until: Callable[..., Any]
) -> None:
    from pytask.testing import isolated

    app = PyTask("redis://127.0.0.1:1/0", task_set="mine")
    threads = threading.active_count()
    with isolated(app, pytask_server.address, concurrency=7):
        assert app.settings.concurrency == 7
        app.task(name="f")(lambda: 5)
        future = app.helpers.submit("f")
        run_until_idle(app)
        assert future.result(timeout=30) == 5
        prefix = app.settings.task_set.removesuffix("tasks")
        assert pytask_server.client.keys(f"{prefix}*")
    assert pytask_server.client.keys(f"{prefix}*") == []
    assert (app.settings.task_set, app.settings.concurrency) == ("mine", 1000)
    assert app.helpers.connector.description == "redis://127.0.0.1:1"
    wait_until(lambda: threading.active_count() <= threads)
