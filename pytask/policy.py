"""How a task is to be treated beyond its code: where it waits, how often it is tried, how long.

A task class says so by class attributes, a function by the arguments of its decorator, and whoever
starts one task may decide otherwise for it. What was decided for one task travels in its record, as
the JSON object in the field ``policy``; everything else is read from the class when it runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from pytask.exceptions import ConfigurationError, InvalidTask
from pytask.keys import DEFAULT_QUEUE, check_queue_name
from pytask.queues import LOCAL
from pytask.records import from_json, to_json

#: Longest time anything may be told to last, in seconds; about three hundred years.
FAR = 1e10


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that grow: ``first`` seconds, then ``factor`` times as long each time.

    Attributes:
        first: Seconds before the first retry.
        factor: What each pause is multiplied by for the next one.
        longest: Most seconds of a pause.
        jitter: Part of a pause that is left to chance, so that tasks that failed together do not
            come back together: 0.5 makes 10 seconds 5 to 10.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 3600.0
    jitter: float = 0.5

    def __call__(self, retries: int) -> float:
        """Return the pause after so many retries, in seconds."""
        try:
            pause = min(self.longest, self.first * self.factor**retries)
        except OverflowError:
            pause = self.longest
        return pause * (1.0 - self.jitter * random.random())


#: Seconds, or what returns them for the number of retries so far.
RetryDelay = float | Callable[[int], float]
#: False or True, or what returns them, or a key, for the data of a task.
CanOverlap = bool | Callable[..., Any]
#: A task that a limit refuses waits for its turn,
WAIT = "wait"
#: or ends REVOKED at once.
REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for all tasks of a class.

    Attributes:
        queue: The queue they wait in; LOCAL: that of the machine on which one is started.
        expires: Seconds after which one is not started any more but REVOKED; 0: never.
        max_retries: How often one that failed is tried again.
        retry_delay: Seconds until it is, or a function of the number of retries so far.
        retry_on: Exceptions that are worth a retry.
        timeout: Seconds a run may last before it is stopped and REVOKED; 0: for ever.
        max_concurrency: How many of them may run at a time in the whole fleet; 0: any number.
        can_overlap: False: only one at a time in the whole fleet. Or a function that is given the
            data of a task, as ``__init__`` is, and returns True, False, or a key: tasks with the
            same key do not overlap then.
        on_limit: What becomes of one that a limit refuses: ``"wait"`` or ``"revoke"``.
    """

    queue: str = DEFAULT_QUEUE
    expires: float = 0.0
    max_retries: int = 0
    retry_delay: RetryDelay = Backoff()
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    timeout: float = 0.0
    max_concurrency: int = 0
    can_overlap: CanOverlap = True
    on_limit: str = WAIT

    @classmethod
    def of_class(cls, task_class: type[Any]) -> Policy:
        """Read the policy of a task class from its attributes ``QUEUE``, ``MAX_RETRIES`` and so on.

        Raises:
            ConfigurationError: One of them cannot be used.
        """
        name = task_class.__qualname__
        found = {
            field.name: getattr(task_class, field.name.upper())
            for field in fields(cls)
            if hasattr(task_class, field.name.upper())
        }
        return cls.checked(f"task class {name}", found)

    @classmethod
    def checked(cls, whose: str, options: dict[str, Any]) -> Policy:
        """Make a policy of options whose values are not known to be good.

        Args:
            whose: For the error.
            options: Any of the attributes.

        Raises:
            ConfigurationError: One of them is unknown or cannot be used.
        """
        unknown = set(options) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigurationError(f"{whose}: unknown option {', '.join(sorted(unknown))}")
        try:
            if options.get("queue", LOCAL) != LOCAL:
                check_queue_name(options["queue"])
            check_overrides({name: options[name] for name in options if name in _CHECKED})
        except (InvalidTask, ConfigurationError) as error:
            raise ConfigurationError(f"{whose}: {error}") from None
        delay = options.get("retry_delay", 0)
        if not callable(delay) and not _is_time(delay):
            raise ConfigurationError(f"{whose}: retry_delay={delay!r}: seconds, or a function")
        overlap = options.get("can_overlap", True)
        if not callable(overlap) and not isinstance(overlap, bool):
            raise ConfigurationError(f"{whose}: can_overlap={overlap!r}: a bool, or a function")
        kinds = options.get("retry_on", ())
        kinds = kinds if isinstance(kinds, tuple | list) else (kinds,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise ConfigurationError(f"{whose}: retry_on={kinds!r}: exception classes")
        if "retry_on" in options:
            options = {**options, "retry_on": tuple(kinds)}
        return cls(**options)

    def with_overrides(self, overrides: bytes) -> Policy:
        """Return the policy of one task.

        Args:
            overrides: The JSON object of its record. One written by hand may hold anything: what
                cannot be used is ignored, for a task must not fail because of it.
        """
        try:
            decoded = from_json(overrides)
            usable = {name: decoded[name] for name in OVERRIDABLE if name in decoded}
            check_overrides(usable)
        except (ValueError, TypeError, InvalidTask):
            return self
        return replace(self, **usable)

    def pause_after(self, retries: int) -> float:
        """Return the seconds until the next try.

        Raises:
            ValueError: The function of the class returned no usable time.
        """
        delay = self.retry_delay
        seconds = delay(retries) if callable(delay) else delay
        if not _is_time(seconds):
            raise ValueError(f"retry_delay({retries}) returned {seconds!r}, not seconds")
        return float(seconds)


#: Of a task nobody knows anything about.
NO_POLICY = Policy()

#: What whoever starts a task may decide for it alone, and what travels in its record.
OVERRIDABLE = ("max_retries", "retry_delay", "timeout", "max_concurrency", "on_limit")
_WHOLE_NUMBERS = frozenset({"max_retries", "max_concurrency"})
_CHECKED = frozenset({"timeout", "expires", "on_limit", *_WHOLE_NUMBERS})


def encode_overrides(options: dict[str, Any]) -> bytes:
    """Return the ``policy`` field of a record; nothing if there is nothing to say.

    Raises:
        InvalidTask: An option cannot be stored.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not given:
        return b""
    check_overrides(given)
    return to_json(given)


def check_overrides(options: dict[str, Any]) -> None:
    """Check what somebody gave.

    Raises:
        InvalidTask: A number is none, or out of range, or ``on_limit`` is no known word.
    """
    for name, value in options.items():
        if name in _WHOLE_NUMBERS:
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < FAR:
                raise InvalidTask(f"{name}={value!r}: a number from 0")
        elif name == "on_limit":
            if value not in (WAIT, REVOKE):
                raise InvalidTask(f"on_limit={value!r}: {WAIT!r} or {REVOKE!r}")
        elif not _is_time(value):
            raise InvalidTask(f"{name}={value!r}: seconds, less than {FAR:g}")


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < FAR
