"""The task classes a worker can run, by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from pytask.concurrency.modes import ASYNCIO, GREENLET, PROCESS, mode_of
from pytask.exceptions import ConfigurationError, UnknownTask
from pytask.limits import may_be_limited
from pytask.policy import NO_POLICY, Policy
from pytask.schedules import Schedule, schedule_of_class
from pytask.task import Task


class TaskType:
    """A registered class, with what has to be known of it at each run looked up once."""

    __slots__ = ("defines_stop", "ends_later", "mode", "policy", "provide_context", "task_class")

    def __init__(self, task_class: type[Any]) -> None:
        self.task_class: Any = task_class
        self.provide_context: Callable[[], AbstractContextManager[Any]] | None = getattr(
            task_class, "provide_context", None
        )
        self.policy = Policy.of_class(task_class)
        #: Empty: in its greenlet.
        self.mode = mode_of(task_class)
        if self.mode == GREENLET:
            self.mode = ""
        elif self.mode == PROCESS:
            # Entered where the code is executed.
            self.provide_context = None
        #: It has no greenlet while its code is under way. A context that was entered in a greenlet
        #: may be bound to it, and keeps it.
        self.ends_later = self.mode == ASYNCIO and self.provide_context is None
        stop = getattr(task_class, "stop", None)
        self.defines_stop = stop is not None and stop is not Task.stop


class TaskRegistry:
    """Task classes by their ``NAME``."""

    def __init__(self) -> None:
        self._types: dict[str, TaskType] = {}
        self._schedules: dict[str, Schedule] = {}
        #: Names of the classes whose tasks may be under a limit; all others need not be looked at.
        self.limited: set[str] = set()

    def add(self, task_class: type[Any], name: str | None = None) -> None:
        """Register a class; the same one twice is harmless.

        Args:
            task_class: The class.
            name: What tasks call it; None: its ``NAME``, or the name of the class.

        Raises:
            ConfigurationError: It is abstract, has no usable ``NAME`` or ``start``, an attribute of
                its policy cannot be used, or another class has the same name.
        """
        if not isinstance(task_class, type):
            raise ConfigurationError(f"{task_class!r} is not a class; add the class itself")
        if is_abstract(task_class):
            raise ConfigurationError(
                f"{task_class.__qualname__} is a base class (ABSTRACT = True): add those derived"
            )
        if name is None:
            name = getattr(task_class, "NAME", "") or task_class.__name__
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"{task_class.__qualname__}: NAME={name!r}: a text is needed")
        if not callable(getattr(task_class, "start", None)):
            raise ConfigurationError(f"{task_class.__qualname__} has no start() method")
        known = self._types.get(name)
        if known is not None and known.task_class is not task_class:
            raise ConfigurationError(
                f"two task classes are named {name!r}: {_path(known.task_class)} and "
                f"{_path(task_class)}"
            )
        if known is None:
            kind, schedule = TaskType(task_class), schedule_of_class(task_class, name)
            if schedule is not None:
                self.add_schedule(schedule)
            self._types[name] = kind
            if may_be_limited(kind.policy):
                self.limited.add(name)

    def add_schedule(self, schedule: Schedule) -> None:
        """Add a schedule; the task it starts may come later.

        Raises:
            ConfigurationError: Another one has its name.
        """
        if schedule.name in self._schedules:
            raise ConfigurationError(
                f"two schedules are named {schedule.name!r}: give one of them another name"
            )
        self._schedules[schedule.name] = schedule

    @property
    def schedules(self) -> list[Schedule]:
        """All schedules, in the order they were added."""
        return list(self._schedules.values())

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

    def policy_of(self, name: str) -> Policy:
        """Return the policy of the class of that name; a default one if there is none."""
        known = self._types.get(name)
        return known.policy if known is not None else NO_POLICY

    def names(self) -> list[str]:
        return sorted(self._types)


def is_abstract(task_class: type[Any]) -> bool:
    """Whether a class says of itself, not through a base class, that it is none to run."""
    return bool(vars(task_class).get("ABSTRACT", False))


def _path(task_class: type[Any]) -> str:
    return f"{task_class.__module__}.{task_class.__qualname__}"
