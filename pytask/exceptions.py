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
    from collections.abc import Sequence

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

    Attributes:
        task_id: The task.
        state: The state it ended in: ERROR, EXCEPTION, REVOKED or STOPPED.
        output: What it left as output, decoded.
    """

    def __init__(self, task_id: str, state: str, output: object = None) -> None:
        self.task_id = task_id
        self.state = state
        self.output = output
        super().__init__(f"task {task_id} ended as {state}: {output}")


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
