"""The ways in which the code of a task can be executed, and which one a class has chosen.

Every run begins in a greenlet. In greenlet mode that calls ``start`` itself. In the other modes
``start`` is executed elsewhere: the greenlet waits for it and passes on what interrupts it, or,
where very many are under way at once, hands it over and is free for another run, see
:class:`LaterMode`. What decides about a run, and when, is the same for all of them: stop, time-out,
reload and requeue, see :mod:`pytask.worker.stopper`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pytask.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pytask.worker.runs import Run

    #: Told in the hub that the code of a run has ended: what it returned, or what it raised. It
    #: must not wait.
    Ended = Callable[[Run, Any, BaseException | None], object]

GREENLET = "greenlet"
ASYNCIO = "asyncio"
THREAD = "thread"
PROCESS = "process"
MODES = (GREENLET, ASYNCIO, THREAD, PROCESS)

#: Set in a child process, where importing the program of a worker must not start another worker.
in_child = False


class Mode(Protocol):
    """Executes ``start`` of tasks somewhere else than in their greenlets."""

    def carry_out(self, run: Run, task_class: type[Any], data: dict[str, Any]) -> Any:
        """Make the instance, execute its ``start``, and return what that returns.

        Called in the greenlet of the run. It calls ``run.enter()`` when the code begins, and sets
        ``run.instance`` to something whose ``stop`` calls that of the task. ``StopTask`` and
        ``GreenletExit`` thrown into it ask for the end of the code, the second more firmly; it
        returns only when the code has ended.

        Raises:
            BaseException: What the code raised.
        """

    def stack_of(self, run: Run) -> str:
        """Return where the code of a run is, for a person to see where it hangs."""

    def close(self) -> None:
        """Let go of everything, without waiting for code that goes on."""


class LaterMode(Mode, Protocol):
    """A mode that needs no greenlet while code of a task is under way."""

    def hand_over(
        self, run: Run, task_class: type[Any], data: dict[str, Any], ended: Ended
    ) -> None:
        """Make the instance, have its ``start`` executed, and return at once.

        As :meth:`carry_out`, but ``run.instance`` has two methods more. ``interrupt(firmly)`` asks
        for the end of the code, once with False and once with True, as exceptions do which are
        thrown into a greenlet; ``context()`` returns a copy of its context variables.

        Args:
            run: The run.
            task_class: Its class.
            data: The arguments of its ``__init__``.
            ended: Called once, when the code has ended.

        Raises:
            BaseException: What ``__init__`` raised; ``ended`` is not called then.
        """


def mode_of(task_class: type[Any]) -> str:
    """Return the mode of a task class.

    Raises:
        ConfigurationError: It names none, or one that cannot execute its ``start``.
    """
    name = task_class.__qualname__
    is_async = inspect.iscoroutinefunction(task_class.start)
    if inspect.isasyncgenfunction(task_class.start):
        raise ConfigurationError(f"{name}: start() yields; an async start() returns")
    if inspect.iscoroutinefunction(getattr(task_class, "stop", None)) and not is_async:
        raise ConfigurationError(f"{name}: stop() may be async only if start() is")
    chosen = getattr(task_class, "CONCURRENCY", None)
    if chosen is None:
        return ASYNCIO if is_async else GREENLET
    if chosen not in MODES:
        raise ConfigurationError(f"{name}: concurrency={chosen!r}: one of {', '.join(MODES)}")
    if is_async and chosen != ASYNCIO:
        raise ConfigurationError(
            f"{name}: start() is async, so concurrency={chosen!r} cannot run it; leave it out"
        )
    if chosen == ASYNCIO and not is_async:
        raise ConfigurationError(f"{name}: concurrency='asyncio' needs `async def`")
    if chosen == PROCESS and "<locals>" in f"{task_class.__module__}.{name}":
        raise ConfigurationError(
            f"{name} is defined inside a function, where the process that is to run it cannot "
            "import it from; define it at the top level of a module"
        )
    return str(chosen)
