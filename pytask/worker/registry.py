"""The task classes a worker can run, by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from pytask.exceptions import ConfigurationError, UnknownTask
from pytask.task import Task


class TaskType:
    """A registered class, with what has to be known of it at each run looked up once."""

    __slots__ = ("defines_stop", "provide_context", "task_class")

    def __init__(self, task_class: type[Any]) -> None:
        self.task_class: Any = task_class
        self.provide_context: Callable[[], AbstractContextManager[Any]] | None = getattr(
            task_class, "provide_context", None
        )
        stop = getattr(task_class, "stop", None)
        self.defines_stop = stop is not None and stop is not Task.stop


class TaskRegistry:
    """Task classes by their ``NAME``."""

    def __init__(self) -> None:
        self._types: dict[str, TaskType] = {}

    def add(self, task_class: type[Any], name: str | None = None) -> None:
        """Register a class; the same one twice is harmless.

        Args:
            task_class: The class.
            name: What tasks call it; None: its ``NAME``.

        Raises:
            ConfigurationError: It has no usable ``NAME`` or ``start``, or another class has the
                same name.
        """
        if not isinstance(task_class, type):
            raise ConfigurationError(f"{task_class!r} is not a class; add the class itself")
        name = getattr(task_class, "NAME", None) if name is None else name
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"{task_class.__qualname__} has no NAME; give it one, for example "
                f'NAME = "myapp/{task_class.__name__.lower()}"'
            )
        if not callable(getattr(task_class, "start", None)):
            raise ConfigurationError(f"{task_class.__qualname__} has no start() method")
        known = self._types.get(name)
        if known is not None and known.task_class is not task_class:
            raise ConfigurationError(
                f"two task classes are named {name!r}: {_path(known.task_class)} and "
                f"{_path(task_class)}"
            )
        self._types[name] = TaskType(task_class)

    def get(self, name: str) -> TaskType:
        """Return the class of that name.

        Raises:
            UnknownTask: There is none; the message lists what there is.
        """
        try:
            return self._types[name]
        except KeyError:
            raise UnknownTask(
                f"no task class is named {name!r} in this worker; it has "
                f"{', '.join(sorted(self._types)) or 'none at all'}"
            ) from None

    def names(self) -> list[str]:
        return sorted(self._types)


def _path(task_class: type[Any]) -> str:
    return f"{task_class.__module__}.{task_class.__qualname__}"
