"""pytask: tens of thousands of controllable, crash-proof tasks per process, on Redis.

Names are imported when they are first used: gevent's monkey-patching has to come before redis is
imported, and ``import pytask`` may well stand above it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0"

_EXPORTS = {
    "LOCAL": "pytask.queues",
    "Backoff": "pytask.policy",
    "Cleanup": "pytask.tasks",
    "ConfigurationError": "pytask.exceptions",
    "InvalidTask": "pytask.exceptions",
    "LeaseLost": "pytask.exceptions",
    "LockLost": "pytask.exceptions",
    "Monitor": "pytask.tasks",
    "Plugin": "pytask.plugins",
    "Notice": "pytask.listening",
    "PyTask": "pytask.pytask",
    "PyTaskException": "pytask.exceptions",
    "PyTaskHelpers": "pytask.helpers",
    "RedisUnavailable": "pytask.exceptions",
    "Retry": "pytask.task",
    "State": "pytask.states",
    "StopTask": "pytask.exceptions",
    "Task": "pytask.task",
    "TaskCrashed": "pytask.exceptions",
    "TaskError": "pytask.exceptions",
    "TaskFailed": "pytask.exceptions",
    "TaskFuture": "pytask.future",
    "TaskNotFound": "pytask.exceptions",
    "TaskSnapshot": "pytask.plugins",
    "TaskRevoked": "pytask.exceptions",
    "TaskStopped": "pytask.exceptions",
    "WaitTimeout": "pytask.exceptions",
    "current_task": "pytask.task",
    "decode_value": "pytask.serializers",
    "run_loop": "pytask.loops",
}

__all__ = [
    "LOCAL",
    "Backoff",
    "Cleanup",
    "ConfigurationError",
    "InvalidTask",
    "LeaseLost",
    "LockLost",
    "Monitor",
    "Notice",
    "Plugin",
    "PyTask",
    "PyTaskException",
    "PyTaskHelpers",
    "RedisUnavailable",
    "Retry",
    "State",
    "StopTask",
    "Task",
    "TaskCrashed",
    "TaskError",
    "TaskFailed",
    "TaskFuture",
    "TaskNotFound",
    "TaskRevoked",
    "TaskSnapshot",
    "TaskStopped",
    "WaitTimeout",
    "__version__",
    "current_task",
    "decode_value",
    "run_loop",
]

if TYPE_CHECKING:
    from pytask.exceptions import (
        ConfigurationError,
        InvalidTask,
        LeaseLost,
        LockLost,
        PyTaskException,
        RedisUnavailable,
        StopTask,
        TaskCrashed,
        TaskError,
        TaskFailed,
        TaskNotFound,
        TaskRevoked,
        TaskStopped,
        WaitTimeout,
    )
    from pytask.future import TaskFuture
    from pytask.helpers import PyTaskHelpers
    from pytask.listening import Notice
    from pytask.loops import run_loop
    from pytask.plugins import Plugin, TaskSnapshot
    from pytask.policy import Backoff
    from pytask.pytask import PyTask
    from pytask.queues import LOCAL
    from pytask.serializers import decode_value
    from pytask.states import State
    from pytask.task import Retry, Task, current_task
    from pytask.tasks import Cleanup, Monitor


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'pytask' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
