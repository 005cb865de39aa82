"""Every exception pytask raises, in one tree.

::

    StopTask (BaseException)
    PyTaskException
    ├── ConfigurationError (ValueError)
    │   └── PartitionMismatch
    ├── InvalidTask (ValueError)
    │   └── UnfitTask
    ├── UnknownTask (LookupError)
    ├── TaskNotFound (LookupError)
    ├── TaskStateError
    │   ├── LeaseLost
    │   └── LockLost
    ├── TaskFailed
    │   ├── TaskError
    │   ├── TaskCrashed
    │   ├── TaskRevoked
    │   └── TaskStopped
    ├── WaitTimeout (TimeoutError)
    ├── CommandFailed
    ├── ChildDied
    └── RedisError
        ├── RedisUnavailable (ConnectionError)
        │   └── NotReplicated
        ├── RedisRefused
        ├── RedisRejected
        └── WrongKeyType (TypeError)

The class docstring is the default message, so ``raise LeaseLost()`` already says something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pytask.shell import CommandResult


class PyTaskException(Exception):
    """pytask could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n")[0])


class StopTask(BaseException):
    """The task was asked to stop.

    Thrown into the greenlet of a task that is stopped, reloaded or moved. It is a
    ``BaseException``, and deliberately not a :class:`PyTaskException`: a task with
    ``except Exception: pass`` around its work would otherwise swallow the request and go on.
    """


class ConfigurationError(PyTaskException, ValueError):
    """A setting or an address cannot be used as given."""


class PartitionMismatch(ConfigurationError):
    """The data in Redis was written with another number of partitions."""


class InvalidTask(PyTaskException, ValueError):
    """A task request cannot be stored as given."""


class UnfitTask(InvalidTask):
    """A task cannot be run with the data it has; the message is all there is to say."""


class UnknownTask(PyTaskException, LookupError):
    """No task class of that name is registered."""


class TaskNotFound(PyTaskException, LookupError):
    """There is no record of that task."""


class TaskStateError(PyTaskException):
    """The task's state does not allow this."""


class LeaseLost(TaskStateError):
    """Another worker owns the task now, or it was stopped, removed or ended meanwhile."""


class LockLost(TaskStateError):
    """The lock could not be renewed in time: somebody else may hold it by now."""


class TaskFailed(PyTaskException):
    """The task ended without success.

    What :meth:`pytask.TaskFuture.result` raises is one of its subclasses, one for each state.

    Attributes:
        task_id: The task.
        state: The state it ended in: ERROR, EXCEPTION, REVOKED or STOPPED.
        output: What it left as output, decoded.
        type: Module and name of the class of what the task raised, None where nothing was raised
            or it is not known. It is only a text: nothing is imported for it.
        types: The same for the class and its bases.
        message: What the exception said, or why the task ended.
        remote_traceback: The traceback in the worker, None if there is none.
    """

    def __init__(
        self,
        task_id: str,
        state: str,
        output: object = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        known = error or {}
        self.task_id = task_id
        self.state = state
        self.output = output
        types = known.get("types")
        self.types = tuple(map(str, types)) if isinstance(types, list) else ()
        self.type = self.types[0] if self.types else None
        self.remote_traceback = _text(known.get("traceback"))
        said = _text(known.get("message"))
        if state == "EXCEPTION" and isinstance(output, str):
            # A traceback is the whole output of an unexpected exception.
            if "\n" in output:
                self.remote_traceback = output
            said = output.rpartition("\n")[2] if said is None else said
        if said is None and isinstance(output, dict):
            # A task that was given up.
            said = _text(output.get("reason"))
        self.message = str(output) if said is None else said
        # Not super(): beside a class of the caller's, that would call the __init__ of that class.
        Exception.__init__(self, f"task {task_id} ended as {state}: {self.message}")

    def __str__(self) -> str:
        text = str(self.args[0])
        if self.remote_traceback is None:
            return text
        return f"{text}\n\nIn the worker:\n{self.remote_traceback}"

    def __reduce__(self) -> tuple[Any, ...]:
        error = {"types": list(self.types), "message": self.message}
        if self.remote_traceback is not None:
            error["traceback"] = self.remote_traceback
        return _again, (self.task_id, self.state, self.output, error)


class TaskError(TaskFailed):
    """The task ended in ERROR: it raised its own ``Error``, or gave up retrying."""


class TaskCrashed(TaskFailed):
    """The task ended in EXCEPTION: it raised something unexpected, or was lost with its workers."""


class TaskRevoked(TaskFailed):
    """The task ended in REVOKED: it expired before it started, or ran out of time."""


class TaskStopped(TaskFailed):
    """The task was stopped; it can be restarted."""


_OF_STATE = {
    "ERROR": TaskError,
    "EXCEPTION": TaskCrashed,
    "REVOKED": TaskRevoked,
    "STOPPED": TaskStopped,
}


def task_failed(
    task_id: str,
    state: str,
    output: object,
    error: Mapping[str, Any] | None = None,
    raises: Iterable[type[Exception]] = (),
) -> TaskFailed:
    """Return the exception for the end of a task.

    Args:
        task_id: The task.
        state: The state it ended in.
        output: What it left.
        error: What its record says of what was raised.
        raises: Classes the caller knows. If one of them is what the task raised, or a base of it,
            by module and name, the exception is an instance of that class too.
    """
    failed = _OF_STATE.get(state, TaskFailed)(task_id, state, output, error)
    for kind in raises:
        if f"{kind.__module__}.{kind.__qualname__}" in failed.types:
            # Its own __init__ is not called: who knows what it would want.
            try:
                both = type(kind.__name__, (type(failed), kind), {"__module__": kind.__module__})
                known: TaskFailed = both(task_id, state, output, error)
            except TypeError:
                continue  # a class that cannot be one of two bases, such as ExceptionGroup
            return known
    return failed


def _again(task_id: str, state: str, output: object, error: Mapping[str, Any]) -> TaskFailed:
    return task_failed(task_id, state, output, error)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


class WaitTimeout(PyTaskException, TimeoutError):
    """What was waited for did not happen in time."""


class CommandFailed(PyTaskException):
    """A command that a task ran ended with another code than 0, or could not run.

    Attributes:
        command: The command.
        result: Its :class:`~pytask.shell.CommandResult`: ``code``, ``out`` and ``err``.
    """

    def __init__(self, command: str | Sequence[str], result: CommandResult) -> None:
        self.command = command
        self.result = result
        text = command if isinstance(command, str) else " ".join(map(str, command))
        lines = result.err.strip().splitlines()[-5:]
        said = "; it said: " + "\n".join(lines) if lines else ""
        super().__init__(f"command {text!r} ended with code {result.code}{said}")


class ChildDied(PyTaskException):
    """The child process that ran the task has died."""


class RedisError(PyTaskException):
    """Redis could not serve a request."""


class RedisUnavailable(RedisError, ConnectionError):
    """Redis cannot be reached, or cannot answer yet; the same request may succeed later.

    Whether the request was executed is unknown, which is why every script of pytask is safe
    to repeat.
    """


class NotReplicated(RedisUnavailable):
    """Redis has carried it out, but fewer replicas than ``wait_replicas`` have it yet."""


class RedisRefused(RedisError):
    """Redis is alive but refuses to store more, for example because ``maxmemory`` is reached."""


class RedisRejected(RedisError):
    """Redis rejects the request for good: credentials, permissions or an unknown command."""


class WrongKeyType(RedisError, TypeError):
    """A key that pytask uses holds a value of another type."""
