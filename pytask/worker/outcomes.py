"""From what a task returned or raised to the state and output that are stored."""

from __future__ import annotations

import traceback
from typing import Any

from greenlet import GreenletExit

from pytask.exceptions import ChildDied, InvalidTask, StopTask, UnfitTask, UnknownTask
from pytask.records import to_json
from pytask.serializers import FORMATS, decode_value, encode_value
from pytask.settings import Settings
from pytask.states import State
from pytask.task import Retry, Task

#: What is thrown into a greenlet to end it; GreenletExit is gevent's own way.
STOPPING = (StopTask, GreenletExit)

NULL = b"null"
_EMPTY = b"{}"


class UnfitResult(InvalidTask):
    """What the task returned cannot be stored."""


class ChildError(Exception):
    """What a task raised in a child process, which has judged it already.

    Args:
        state: What the task ends in.
        output: What it leaves, encoded.
        text: Type and message of the exception.
        again: Whether ``retry_on`` of its class names it.
        delay: Seconds until the next try, if it said so itself.
        about: What :func:`describe` says of it.
    """

    def __init__(
        self,
        state: str,
        output: bytes,
        text: str,
        again: bool,
        delay: float | None,
        about: bytes = b"",
    ) -> None:
        super().__init__(text)
        self.state = State(state)
        self.output = output
        self.again = again
        self.delay = delay
        self.about = about


#: Their traceback would only show the worker.
_SAY_ALL = (UnfitTask, UnfitResult, ChildDied)


def decode_data(task: str, data: bytes) -> dict[str, Any]:
    """Return the keyword arguments for ``__init__``.

    Raises:
        UnfitTask: It is no object, or neither JSON nor MessagePack.
    """
    if data == _EMPTY:
        return {}
    try:
        decoded = decode_value(data)
    except ValueError as error:
        what = f"is {error}" if data else "is missing; without options it is {}"
        raise UnfitTask(f"data of this {task!r} task {what}") from None
    if not isinstance(decoded, dict):
        raise UnfitTask(f"data of this {task!r} task is {_name_of_type(decoded)}, not an object")
    return decoded


def encode_result(task: str, value: Any, settings: Settings) -> bytes:
    """Return the stored form of what ``start`` returned.

    Raises:
        UnfitResult: The serializer has no form for it, or one of more than ``max_output_bytes``.
    """
    if value is None:
        return NULL
    try:
        output = encode_value(value, settings.serializer)
    except Exception as error:
        raise UnfitResult(
            f"start() of {task!r} returned a {type(value).__name__} that is not "
            f"{FORMATS[settings.serializer]}: {error}"
        ) from None
    if len(output) > settings.max_output_bytes:
        raise UnfitResult(
            f"start() of {task!r} returned {len(output):,} bytes of "
            f"{FORMATS[settings.serializer]}, more than "
            f"max_output_bytes={settings.max_output_bytes:,}; store it elsewhere and return its "
            "name"
        )
    return output


def judge(
    error: BaseException, task_class: type[Any] | None, settings: Settings
) -> tuple[State, bytes]:
    """Return the state and output of a run that ended with an exception.

    Args:
        error: What was raised; its traceback is read.
        task_class: The class of the task, None if there is none.
        settings: The form of the output, and its bound.
    """
    max_bytes = settings.max_output_bytes
    if isinstance(error, STOPPING):
        return State.STOPPED, NULL
    if isinstance(error, ChildError):
        return error.state, error.output
    if isinstance(error, (Task.Error, Retry, getattr(task_class, "Error", Task.Error))):
        return State.ERROR, _encode_message(error, settings)
    if isinstance(error, _SAY_ALL) or (task_class is None and isinstance(error, UnknownTask)):
        return State.EXCEPTION, _encode_text(str(error), max_bytes)
    return State.EXCEPTION, _encode_text(_traceback_of(error), max_bytes)


def describe(error: BaseException, state: State, max_bytes: int) -> bytes:
    """Return what a record says of what a task raised, a JSON object.

    It has the names of the class and its bases, the message, and for ERROR the traceback, which
    for EXCEPTION is the output.

    Args:
        error: What was raised.
        state: The state the task ends in; empty for one that is no failure.
        max_bytes: Bound of an output; what is said here stays well below it.
    """
    if state not in (State.ERROR, State.EXCEPTION):
        return b""
    if isinstance(error, ChildError):
        return error.about
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, BaseException)]
    about: dict[str, Any] = {
        "types": [f"{kind.__module__}.{kind.__qualname__}" for kind in kinds[:20]],
        "message": _clipped(_text_of(error), max_bytes),
    }
    if state is State.ERROR and error.__traceback__ is not None:
        about["traceback"] = _clipped(_traceback_of(error), max_bytes)
    return to_json(about)


def did_not_fit(error: TypeError) -> bool:
    """Tell whether a call failed because of its arguments, not inside the function called."""
    trace = error.__traceback__
    return trace is not None and trace.tb_next is None


def _encode_message(error: BaseException, settings: Settings) -> bytes:
    args, max_bytes = error.args, settings.max_output_bytes
    value = None if not args else args[0] if len(args) == 1 else list(args)
    try:
        output = encode_value(value, settings.serializer)
    except Exception:
        return _encode_text(_text_of(error), max_bytes)
    return output if len(output) <= max_bytes else _encode_text(_text_of(error), max_bytes)


def _encode_text(text: str, max_bytes: int) -> bytes:
    return to_json(_clipped(text, max_bytes))


def _clipped(text: str, max_bytes: int) -> str:
    # A character takes at most six bytes of JSON; a text of a sixteenth of the bound also leaves
    # room for many of them in one batch.
    bound = max(1000, max_bytes // 16)
    if len(text) <= bound:
        return text
    return (
        f"{text[: bound // 3]}\n… {len(text) - bound:,} characters left out …\n"
        + (text[-(bound - bound // 3) :])
    )


def _traceback_of(error: BaseException) -> str:
    # The first frame is the worker's, the rest is the task's.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(
        "pytask.concurrency."
    ):
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace)).rstrip("\n")
    except Exception:
        return f"{type(error).__name__}: (no traceback: it could not be formatted)"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return type(error).__name__


def _name_of_type(value: Any) -> str:
    names = {
        list: "a JSON array",
        str: "a JSON string",
        bool: "a JSON boolean",
        int: "a JSON number",
        float: "a JSON number",
        type(None): "a JSON null",
    }
    return names.get(type(value), type(value).__name__)
