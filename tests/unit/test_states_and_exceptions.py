"""states and exceptions: the words everybody else uses."""

import inspect
import re

import pytest

from pytask import exceptions
from pytask.exceptions import CommandFailed, PyTaskException, StopTask, TaskFailed
from pytask.states import ENDED, FAILED, READY, Code, State

TREE = [one for one in vars(exceptions).values() if inspect.isclass(one)]


def test_the_states_are_those_of_the_data_model():
    assert [state.value for state in State] == (
        ["WAIT", "RUNNING", "STOPPED", "SUCCESS", "ERROR", "EXCEPTION", "RETRY", "REVOKED"]
    )
    assert str(State.WAIT) == State.WAIT == "WAIT"


def test_the_sets_of_states_contain_each_other():
    assert FAILED < ENDED < READY < set(State)
    assert {State.STOPPED} == READY - ENDED
    assert {State.SUCCESS} == ENDED - FAILED
    assert not READY & {State.WAIT, State.RUNNING, State.RETRY}


def test_codes_above_zero_say_that_the_task_is_as_wanted():
    assert {code.name for code in Code if code > 0} == {
        "OK",
        "ALREADY",
        "REMOVED",
        "DEAD",
        "SENT",
    }
    assert Code.MISSING == 0
    assert Code.MISSING is not Code.NOT_OWNER


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_the_docstring_is_the_message_and_the_tree_is_drawn(kind):
    assert kind.__doc__
    assert re.search(rf"\b{kind.__name__}\b", exceptions.__doc__)
    if issubclass(kind, TaskFailed | CommandFailed):
        return
    error = kind()
    if issubclass(kind, PyTaskException):
        assert str(error) == kind.__doc__.split("\n")[0]
        assert str(kind("another")) == "another"
        assert len(kind.__mro__) > 4 or kind is PyTaskException or kind.__bases__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("ConfigurationError", ValueError),
        ("InvalidTask", ValueError),
        ("TaskNotFound", LookupError),
        ("UnknownTask", LookupError),
        ("WaitTimeout", TimeoutError),
        ("RedisUnavailable", ConnectionError),
        ("WrongKeyType", TypeError),
        ("LeaseLost", exceptions.TaskStateError),
        ("PartitionMismatch", exceptions.ConfigurationError),
        ("RedisRefused", exceptions.RedisError),
    ],
)
def test_exceptions_can_be_caught_as_what_they_are(kind, builtin):
    error = getattr(exceptions, kind)
    assert issubclass(error, builtin)
    assert issubclass(error, PyTaskException)


def test_a_request_to_stop_is_not_swallowed_by_except_exception():
    assert issubclass(StopTask, BaseException)
    assert not issubclass(StopTask, Exception)


def test_a_failed_task_says_which_how_and_why():
    error = TaskFailed("id", "ERROR", {"why": 1})
    assert (error.task_id, error.state, error.output) == ("id", "ERROR", {"why": 1})
    assert str(error) == "task id ended as ERROR: {'why': 1}"
