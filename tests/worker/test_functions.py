"""Functions as tasks: submitted, called, checked, named."""

import contextvars
import datetime
import threading
from typing import Any

import gevent
import pytest

from pytask import ConfigurationError, InvalidTask, PyTask, Task, current_task
from pytask.exceptions import TaskStateError, UnfitTask
from tests.support.waiting import PATIENCE
from tests.worker.conftest import Serve


def prepared(serve: Serve, *functions: Any, **options: Any) -> tuple[Any, list[Any]]:
    """Run a worker with these functions as tasks; return it and what they became."""
    made: list[Any] = []

    def prepare(app: PyTask) -> None:
        made.extend(app.task(**policy)(function) for function, policy in functions)

    return serve(prepare=prepare, **options), made


def test_a_function_runs_where_it_is_called_and_where_it_is_submitted(serve: Serve) -> None:
    def add(a: int, b: int = 2, *more: int) -> int:
        """Add."""
        return a + b + sum(more)

    worker, [task] = prepared(serve, (add, {}))
    assert (task(1), task.name, task.__doc__) == (3, "add", "Add.")
    future = task.options(cleanup=False).submit(1, 2, 3)
    assert (future.wait(PATIENCE), future.result()) == ("SUCCESS", 6)
    assert worker.record(future.id)["data"] == '{"a":1,"b":2,"more":[3]}'


def test_types_arrive_as_they_were_sent(serve: Serve) -> None:
    def days(since: datetime.date, until: datetime.date) -> int:
        assert isinstance(since, datetime.date)
        return (until - since).days

    _, [task] = prepared(serve, (days, {}))
    future = task.submit(datetime.date(2026, 1, 1), until=datetime.date(2026, 3, 1))
    assert future.wait(PATIENCE) == "SUCCESS" and future.result() == 59


def test_wrong_arguments_are_refused_before_anything_is_started(serve: Serve) -> None:
    def count(number: int) -> None: ...

    worker, [task] = prepared(serve, (count, {}))
    for args, kwargs in ((("x",), {}), ((), {}), ((1, 2), {}), ((), {"numbr": 1})):
        with pytest.raises(UnfitTask, match="task 'count'"):
            task.submit(*args, **kwargs)
    with pytest.raises(InvalidTask, match="max_retries=-1"):
        task.options(max_retries=-1).submit(1)
    with pytest.raises(TypeError, match="speed"):
        task.options(speed=9).submit(1)
    assert worker.helpers.get_new_task_ids() == worker.helpers.get_active_task_ids() == []


def test_wrong_data_end_the_task_with_the_name_of_the_field(serve: Serve) -> None:
    def count(number: int) -> None: ...

    worker, _ = prepared(serve, (count, {"max_retries": 5}))
    assert worker.run_task("count", number="x") == (
        "EXCEPTION",
        "argument 'number' of task 'count': Expected `int`, got `str`",
    )
    assert worker.run_task("count", numbr=1) == (
        "EXCEPTION",
        "data does not fit 'count': missing a required argument: 'number'",
    )


def test_a_function_knows_the_task_it_is(serve: Serve) -> None:
    def who() -> dict[str, Any]:
        task = current_task()
        task.emit("here", 1)
        child = gevent.spawn(contextvars.copy_context().run, lambda: current_task().id)
        return {"id": task.id, "attempt": task.attempt, "child": child.get()}

    _, [task] = prepared(serve, (who, {}))
    future = task.submit()
    future.wait(PATIENCE)
    assert future.result() == {"id": future.id, "attempt": 1, "child": future.id}


def test_each_of_many_tasks_at_once_is_its_own(serve: Serve) -> None:
    def who() -> str:
        gevent.sleep(0.01)
        return current_task().id

    _, [task] = prepared(serve, (who, {}))
    futures = [task.options(cleanup=False).submit() for _ in range(20)]
    assert [one.wait(PATIENCE) and one.result() for one in futures] == [one.id for one in futures]


def test_outside_of_a_task_there_is_no_current_one() -> None:
    with pytest.raises(TaskStateError, match="outside of a task"):
        current_task()
    seen: list[BaseException] = []

    def look() -> None:
        try:
            current_task()
        except TaskStateError as error:
            seen.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert len(seen) == 1


def test_a_function_task_waits_in_its_own_queue_unless_told_otherwise(serve: Serve) -> None:
    def send() -> None: ...

    worker, [task] = prepared(serve, (send, {"queue": "mail", "expires": 60}), queues=["other"])
    mine = [task.submit().id, *worker.helpers.start_tasks([task.request()])]
    mine.append(worker.helpers.start_task("send"))
    assert sorted(worker.helpers.get_new_task_ids("mail")) == sorted(mine)
    assert all(float(worker.record(one)["expires"]) > 0 for one in mine)
    other = task.options(queue="news", expires=0).submit().id
    bulk = worker.helpers.start_tasks([task.options(queue="news").request()])
    assert sorted(worker.helpers.get_new_task_ids("news")) == sorted([other, *bulk])
    assert "expires" not in worker.record(other)


def test_two_functions_of_one_name_are_an_error(app: Any) -> None:
    one = app()

    @one.task
    def twin() -> None: ...

    with pytest.raises(ConfigurationError, match="two task classes are named 'twin'"):
        one.task(name="twin")(lambda: None)


def test_what_is_no_function_is_refused(app: Any) -> None:
    with pytest.raises(ConfigurationError, match="add_task"):
        app().task(Task)
    with pytest.raises(ConfigurationError, match="no function"):
        app().task(5)
    with pytest.raises(ConfigurationError, match="unknown option retries"):
        app().task(retries=1)(lambda: None)


def test_many_are_submitted_with_few_round_trips(serve: Serve) -> None:
    def double(number: int) -> int:
        return 2 * number

    worker, [task] = prepared(serve, (double, {}))
    ids = worker.helpers.start_tasks(
        task.options(cleanup=False).request(number) for number in range(500)
    )
    worker.wait_for(ids[-1], "SUCCESS")
    for number, one in enumerate(ids):
        assert worker.wait_for(one, "SUCCESS") == 2 * number
