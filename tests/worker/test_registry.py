"""Which classes can be registered."""

from typing import Any

import pytest

from pytask import ConfigurationError, Task
from pytask.exceptions import UnknownTask
from pytask.worker.registry import TaskRegistry


class Good(Task):
    NAME = "good"


class AlsoGood(Task):
    NAME = "good"


def test_a_class_is_found_by_its_name() -> None:
    registry = TaskRegistry()
    registry.add(Good)
    registry.add(Good)
    assert registry.get("good").task_class is Good
    assert registry.names() == ["good"]


def test_a_class_can_be_registered_under_another_name() -> None:
    registry = TaskRegistry()
    registry.add(Good, "better")
    assert registry.names() == ["better"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (Good(), "is not a class"),
        (Task, "has no NAME"),
        (type("NoName", (), {"start": lambda self: None}), "has no NAME"),
        (type("OddName", (), {"NAME": 5, "start": lambda self: None}), "has no NAME"),
        (type("NoStart", (), {"NAME": "x"}), "has no start"),
        (AlsoGood, "two task classes are named 'good'"),
    ],
)
def test_what_cannot_be_run_is_refused(wrong: Any, complaint: str) -> None:
    registry = TaskRegistry()
    registry.add(Good)
    with pytest.raises(ConfigurationError, match=complaint):
        registry.add(wrong)


def test_an_unknown_name_lists_the_known_ones() -> None:
    registry = TaskRegistry()
    with pytest.raises(UnknownTask, match="none at all"):
        registry.get("x")
    registry.add(Good)
    with pytest.raises(UnknownTask, match="it has good"):
        registry.get("x")


def test_a_stop_counts_as_defined_only_when_a_class_defines_it() -> None:
    registry = TaskRegistry()
    stops = type("Stops", (Task,), {"NAME": "stops", "stop": lambda self: None})
    registry.add(Good)
    registry.add(stops)
    assert not registry.get("good").defines_stop
    assert registry.get("stops").defines_stop
