"""What a task returns or raises, and what is stored of it."""

import math
import sys
from typing import Any

import gevent
import pytest

from pytask import PyTask, StopTask, Task
from tests.support.waiting import PATIENCE
from tests.worker.conftest import Serve

pytestmark = pytest.mark.topologies("valkey")


class Returns(Task):
    NAME = "returns"
    value: Any = None

    def start(self) -> Any:
        return type(self).value


class Raises(Task):
    NAME = "raises"
    make: Any = None

    def start(self) -> Any:
        raise type(self).make()


@pytest.mark.parametrize("value", [None, 1, "text", [1, {"a": None}], {"a": [1.5]}, "ü\ud800", ""])
def test_what_start_returns_becomes_the_output(serve: Serve, value: Any) -> None:
    Returns.value = value
    assert serve(Returns).run_task("returns") == ("SUCCESS", value)


@pytest.mark.parametrize(
    ("value", "named"),
    [({1, 2}, "set"), (object(), "object"), (math.nan, "float"), (b"x", "bytes")],
)
def test_a_value_that_is_not_json_ends_in_exception_and_names_its_type(
    serve: Serve, value: Any, named: str
) -> None:
    Returns.value = value
    state, output = serve(Returns).run_task("returns")
    assert state == "EXCEPTION"
    assert f"returned a {named} that is not JSON" in output
    assert "Traceback" not in output


def test_a_value_that_holds_itself_ends_in_exception(serve: Serve) -> None:
    loop: list[Any] = []
    loop.append(loop)
    Returns.value = loop
    assert serve(Returns).run_task("returns")[0] == "EXCEPTION"


def test_an_output_that_is_too_large_ends_in_exception(serve: Serve) -> None:
    Returns.value = "x" * 2000
    state, output = serve(Returns, max_output_bytes=1000).run_task("returns")
    assert state == "EXCEPTION"
    assert "2,002 bytes" in output and "max_output_bytes=1,000" in output


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Task.Error("no such page"), "no such page"),
        (lambda: Task.Error({"status": 404}), {"status": 404}),
        (lambda: Task.Error("status", 404), ["status", 404]),
        (lambda: Task.Error(), None),
        (lambda: Task.Error({1, 2}), "{1, 2}"),
    ],
)
def test_an_error_of_the_task_ends_in_error_with_its_message(
    serve: Serve, make: Any, expected: Any
) -> None:
    Raises.make = make
    assert serve(Raises).run_task("raises") == ("ERROR", expected)


def test_an_error_class_of_its_own_counts_as_error(serve: Serve) -> None:
    class Own(Task):
        NAME = "own"

        class Error(Exception):
            pass

        def start(self) -> None:
            raise self.Error("mine")

    assert serve(Own).run_task("own") == ("ERROR", "mine")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, MemoryError])
def test_anything_else_ends_in_exception_with_its_traceback(
    serve: Serve, error: type[BaseException]
) -> None:
    Raises.make = lambda: error("unforeseen")
    state, output = serve(Raises).run_task("raises")
    assert state == "EXCEPTION"
    assert output.startswith("Traceback")
    assert output.endswith(f"{error.__name__}: unforeseen")
    assert "in start\n    raise type(self).make()" in output
    assert "greenlet.py" not in output


@pytest.mark.parametrize("error", [StopTask, PyTask.StopTask, gevent.GreenletExit])
def test_a_task_that_stops_itself_is_stopped(serve: Serve, error: type[BaseException]) -> None:
    Raises.make = error
    assert serve(Raises).run_task("raises") == ("STOPPED", None)


def test_a_traceback_is_bounded(serve: Serve) -> None:
    Raises.make = lambda: ValueError("\n." * 2_000_000)
    state, output = serve(Raises, max_output_bytes=100_000).run_task("raises")
    assert state == "EXCEPTION"
    assert len(output) < 20_000
    assert "characters left out" in output


def test_an_exception_that_cannot_be_printed_still_ends_the_task(serve: Serve) -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text for you")

    Raises.make = Nasty
    assert serve(Raises).run_task("raises")[0] == "EXCEPTION"
    Raises.make = type("Nasty", (Nasty, Task.Error), {})
    assert serve(Raises).run_task("raises")[0] in ("ERROR", "EXCEPTION")


def test_endless_recursion_ends_the_task_only(serve: Serve) -> None:
    class Deep(Task):
        NAME = "deep"

        def start(self) -> None:
            self.start()

    worker = serve(Deep, Returns)
    assert worker.run_task("deep")[0] == "EXCEPTION"
    Returns.value = 1
    assert worker.run_task("returns") == ("SUCCESS", 1)


def test_an_unknown_task_says_what_is_registered(serve: Serve) -> None:
    state, output = serve(Returns, Raises).run_task("nobody")
    assert state == "EXCEPTION"
    assert "'nobody'" in output and "raises, returns" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("[1]", "JSON array, not an object"),
        ("null", "JSON null, not an object"),
        ("{", "is not JSON"),
        ("", "is missing"),
        ("\xff", "is not JSON"),
    ],
)
def test_data_that_is_no_json_object_ends_in_exception(
    serve: Serve, raw: Any, namespace: Any, data: str, complaint: str
) -> None:
    worker = serve(Returns)
    raw.hset(
        f"{namespace.task_prefix}x", mapping={"task": "returns", "data": data.encode("latin-1")}
    )
    raw.lpush(namespace.new_queue, "x")
    assert complaint in worker.wait_for("x", "EXCEPTION")


class Picky(Task):
    NAME = "picky"

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted + 0

    def start(self) -> int:
        return self.wanted


@pytest.mark.parametrize(
    ("task", "data", "complaint"),
    [
        ("picky", {}, "missing 1 required positional argument: 'wanted'"),
        ("picky", {"wanted": 1, "other": 2}, "unexpected keyword argument 'other'"),
        ("returns", {"typo": 1}, "unexpected keyword argument 'typo'"),
        ("picky", {"self": 1}, "multiple values for argument 'self'"),
    ],
)
def test_data_that_do_not_fit_init_say_which(
    serve: Serve, task: str, data: dict[str, Any], complaint: str
) -> None:
    worker = serve(Picky, Returns)
    task_id = worker.helpers.submit(task, data).id
    output = worker.wait_for(task_id, "EXCEPTION")
    assert f"data does not fit '{task}'" in output and complaint in output
    assert "Traceback" not in output


def test_a_type_error_inside_init_keeps_its_traceback(serve: Serve) -> None:
    state, output = serve(Picky).run_task("picky", wanted="text")
    assert state == "EXCEPTION"
    assert output.startswith("Traceback") and "self.wanted = wanted + 0" in output


def test_a_task_without_start_ends_in_exception(serve: Serve) -> None:
    class Idle(Task):
        NAME = "idle"

    state, output = serve(Idle).run_task("idle")
    assert state == "EXCEPTION" and "does not define start()" in output


def test_exception_handlers_are_told_and_may_fail(serve: Serve, caplog: Any) -> None:
    told: list[BaseException] = []

    def prepare(app: PyTask) -> None:
        app.add_exception_handler(lambda error: 1 / 0)
        app.add_exception_handler(lambda error: sys.exit("no"))
        app.add_exception_handler(told.append)

    Raises.make = lambda: ValueError("tell them")
    worker = serve(Raises, prepare=prepare)
    assert worker.run_task("raises")[0] == "EXCEPTION"
    assert [str(error) for error in told] == ["tell them"]
    assert caplog.text.count("exception handler") == 2


def test_exception_handlers_are_not_told_of_errors_and_stops(serve: Serve) -> None:
    told: list[BaseException] = []
    worker = serve(Raises, prepare=lambda app: app.add_exception_handler(told.append))
    for make in (Task.Error, StopTask):
        Raises.make = make
        worker.run_task("raises")
    assert told == []


def test_end_events_carry_the_output(serve: Serve, raw: Any, namespace: Any) -> None:
    channel = raw.pubsub()
    channel.psubscribe(f"{namespace.task_prefix}*")
    assert channel.get_message(timeout=PATIENCE)["type"] == "psubscribe"
    Returns.value = {"a": 1}
    worker = serve(Returns)
    worker.run_task("returns")
    heard = [""]
    while "success" not in heard[-1]:
        message = channel.get_message(timeout=PATIENCE)
        assert message, heard
        heard.append(message["data"])
    channel.close()
    assert heard[-1].replace(" ", "") == '{"event":"success","data":{"a":1}}'
