"""PyTaskHelpers: what it refuses, and what each method answers."""

from typing import Any

import pytest

from pytask import InvalidTask, PyTaskHelpers, TaskNotFound
from pytask.exceptions import WrongKeyType

pytestmark = pytest.mark.topologies("valkey")


def test_the_life_of_a_task_in_the_words_of_the_helpers(helpers: Any) -> None:
    task_id = helpers.start_task("x", task_id="one", cleanup=False, a=1)
    assert helpers.start_task("x", task_id="one") == task_id
    assert helpers.get_new_task_ids() == ["one"]
    assert helpers.get_task("one", ["task", "data", "nothing"]) == ["x", '{"a":1}', None]
    assert helpers.stop_task("one")
    assert helpers.get_active_task_ids() == ["one"]
    assert not helpers.restart_if_state("one", "ERROR")
    assert not helpers.restart_if_state("one", [])
    assert helpers.restart_if_state("one", ["STOPPED"])
    assert helpers.restart_task("one")
    assert not helpers.reload_task("one")
    assert helpers.remove_task("one")
    assert not helpers.remove_task("one")
    assert helpers.get_task("one") == {}
    assert helpers.get_end_task_ids() == []


def test_what_there_is_no_record_of_is_not_found(helpers: Any) -> None:
    for call in (helpers.stop_task, helpers.reload_task, helpers.restart_task):
        with pytest.raises(TaskNotFound, match="nowhere"):
            call("nowhere")


def test_a_foreign_value_under_the_name_of_a_task_is_named(helpers: Any, raw: Any) -> None:
    key = helpers.keys.of("odd").record("odd")
    raw.set(key, "foreign")
    for call in (lambda: helpers.start_task("x", task_id="odd"), lambda: helpers.stop_task("odd")):
        with pytest.raises(WrongKeyType, match=key):
            call()
    assert raw.get(key) == "foreign"


@pytest.mark.parametrize(
    "request_",
    [
        {"data": {}},
        {"task": "x", "nonsense": 1},
        "x",
        7,
        ("x", [1]),
        ("", {}),
        {"task": "x", "delay": -1},
        {"task": "x", "expires": "soon"},
    ],
)
def test_a_request_of_another_form_is_refused_and_nothing_is_started(
    helpers: Any, request_: Any
) -> None:
    with pytest.raises(InvalidTask):
        helpers.start_tasks([("fine", {}), request_])
    assert helpers.get_new_task_ids() == []


def test_fields_are_written_as_text_or_json(helpers: Any) -> None:
    helpers.set_task("t", {"task": "x", "data": {"a": [1]}})
    helpers.set_task("t", "note", 7)
    assert helpers.get_task("t") == {"task": "x", "data": '{"a":[1]}', "note": "7"}
    helpers.set_task("t", {})
    with pytest.raises(InvalidTask, match="no value"):
        helpers.set_task("t", "note")
    with pytest.raises(InvalidTask, match="not JSON"):
        helpers.set_task("t", "note", object())


def test_helpers_work_again_after_they_were_closed(address: Any, namespace: Any) -> None:
    with PyTaskHelpers(address, **namespace.options) as helpers:
        task_id = helpers.start_task("x")
    assert helpers.future(task_id).state == "WAIT"
    helpers.close()
