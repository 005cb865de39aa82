"""Which classes can be registered."""

from typing import Any

import pytest

from pytask import ConfigurationError, Task
from pytask.exceptions import UnknownTask
from pytask.policy import Policy
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


def test_a_class_without_a_name_is_called_as_it_is() -> None:
    registry = TaskRegistry()
    registry.add(type("NoName", (), {"start": lambda self: None}))
    registry.add(type("Unnamed", (Task,), {}))
    assert registry.names() == ["NoName", "Unnamed"]


def test_what_derives_from_a_base_class_is_none() -> None:
    registry = TaskRegistry()
    base = type("Base", (Task,), {"ABSTRACT": True})
    with pytest.raises(ConfigurationError, match="Base is a base class"):
        registry.add(base)
    registry.add(type("Real", (base,), {}))
    assert registry.names() == ["Real"]


def test_the_policy_of_a_class_is_known_and_an_unknown_one_has_none() -> None:
    registry = TaskRegistry()
    registry.add(type("Mail", (Task,), {"QUEUE": "mail", "MAX_RETRIES": 3}))
    assert registry.policy_of("Mail") == Policy(queue="mail", max_retries=3)
    assert registry.policy_of("Other") == Policy()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (Good(), "is not a class"),
        (Task, "Task is a base class"),
        (type("OddName", (), {"NAME": 5, "start": lambda self: None}), "NAME=5: a text is needed"),
        (type("Fails", (Task,), {"MAX_RETRIES": -1}), "class Fails: max_retries=-1"),
        (type("Fails", (Task,), {"TIMEOUT": "soon"}), "class Fails: timeout='soon'"),
        (type("Fails", (Task,), {"QUEUE": "a b"}), "class Fails: .*'a b'"),
        (type("Fails", (Task,), {"RETRY_ON": (5,)}), "class Fails: retry_on=.5,.: exception"),
        (type("Fails", (Task,), {"RETRY_DELAY": "1 s"}), "class Fails: retry_delay='1 s'"),
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
