"""The base class of tasks: what a person writes, and what it is given while it runs.

Nothing here needs gevent or a connection, so task classes can be imported and tested anywhere.
A worker binds an instance to its run before ``__init__``; outside a worker there is no run, and
what needs one says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pytask.exceptions import LeaseLost, TaskStateError
from pytask.policy import FAR
from pytask.serializers import encode_value

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers
    from pytask.locks import Lock
    from pytask.store import Store


class TaskEnvironment(Protocol):
    """What all tasks of one worker share."""

    @property
    def store(self) -> Store: ...

    @property
    def redis(self) -> Any: ...

    @property
    def helpers(self) -> PyTaskHelpers: ...


class Binding(Protocol):
    """The run a task instance belongs to, as far as the instance may know it."""

    @property
    def task_id(self) -> str: ...

    @property
    def token(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def is_over(self) -> bool: ...

    @property
    def stopping(self) -> bool: ...

    @property
    def environment(self) -> TaskEnvironment: ...


class _OfRun:
    """An attribute read from the run; a task that assigns the name for itself hides it."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path.split(".")
        self._name = ""
        self.__doc__ = text

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, task: Any, owner: type) -> Any:
        if task is None:
            return self
        value = _binding_of(task, self._name)
        for name in self._path:
            value = getattr(value, name)
        return value


def _binding_of(task: Any, wanted: str) -> Any:
    binding = task.__dict__.get("_binding")
    if binding is None:
        raise TaskStateError(
            f"{type(task).__name__}.{wanted} exists only while a worker runs the task"
        )
    return binding


#: The task whose code this greenlet runs.
current: ContextVar[Task | None] = ContextVar("pytask.current", default=None)


def current_task() -> Task:
    """Return the task whose code is running: in a function that is one, or anything it calls.

    A greenlet or thread that a task starts has none of its own, unless it is handed the context:
    ``gevent.spawn(contextvars.copy_context().run, function)``.

    Raises:
        TaskStateError: No task is running here.
    """
    task = current.get()
    if task is None:
        raise TaskStateError("current_task() was called outside of a task")
    return task


#: The task for which the worker carries out what its child process asks.
asked_by: ContextVar[str] = ContextVar("pytask.asked_by", default="")


def running_task_id() -> str:
    """Return the ID of the task whose code is running, empty outside of a task."""
    task = current.get()
    if task is None:
        return asked_by.get()
    binding = task.__dict__.get("_binding")
    return "" if binding is None else str(binding.task_id)


class Retry(Exception):
    """Raised by a task to be tried again, as long as ``max_retries`` allows.

    Args:
        reason: The output of the task, if it is not tried again.
        delay: Seconds until then; None: as its ``retry_delay`` says.
    """

    def __init__(self, reason: Any = None, *, delay: float | None = None) -> None:
        super().__init__(*(() if reason is None else (reason,)))
        if delay is not None and not 0 <= delay < FAR:
            raise ValueError(f"delay={delay!r}: seconds from now")
        self.delay = delay


class Task:
    """Base class of all tasks.

    Example::

        class Greet(Task):
            NAME = "docs/greet"

            def __init__(self, name: str = "world") -> None:
                self.name = name

            def start(self) -> str:
                return f"hello {self.name}"

    A task may define a static method ``provide_context()`` that returns a context manager. One
    is made for each run, entered before ``__init__``, and left after ``start`` and ``stop``.
    """

    #: The name tasks are started by; unique within an app. Empty: the name of the class.
    NAME: ClassVar[str] = ""
    #: True in a base class, which is not run itself; what derives from it is.
    ABSTRACT: ClassVar[bool] = True
    # CONCURRENCY, one of "greenlet", "asyncio", "thread" and "process", says how it is executed.
    # Of its policy, see pytask.policy.Policy: QUEUE, EXPIRES, MAX_RETRIES, RETRY_DELAY, RETRY_ON,
    # TIMEOUT, MAX_CONCURRENCY, CAN_OVERLAP and ON_LIMIT. They are not defined here, so that a task
    # may use the names for itself until it means them.

    class Error(Exception):
        """Raised by a task that failed in an expected way; it ends in ERROR, not EXCEPTION.

        The argument becomes the output of the task; several arguments become a list.
        """

    id = _OfRun("task_id", "The ID of this task.")
    token = _OfRun(
        "token", "The token of this run: a new one at each claim, to fence effects elsewhere."
    )
    attempt = _OfRun("attempt", "How often this task was claimed, this time included.")
    redis = _OfRun("environment.redis", "The Redis client the app was given or made.")
    helpers = _OfRun("environment.helpers", "The helpers of the app, to start other tasks.")
    http = _OfRun(
        "environment.http",
        "An HTTP client of httpx with pooled connections; an ``AsyncClient`` in asyncio mode.",
    )

    _binding: Binding | None

    def __init__(self) -> None:
        """Take no options; a subclass names its own, so that a misspelt one is an error."""

    def start(self) -> Any:
        """Do the work; the task ends when this returns.

        Returns:
            Anything the serializer of the app has a form for; it is stored as the output of the
            task.

        Raises:
            Task.Error: The task failed in an expected way.
            NotImplementedError: The subclass does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define start()")

    def stop(self) -> None:
        """Ask ``start`` to return; called in another greenlet when the task is to stop.

        A subclass that defines it has ``stop_timeout`` seconds until ``start`` must have
        returned; then, or at once where it is not defined, :class:`pytask.StopTask` is raised
        inside ``start``.
        """

    def should_stop(self) -> bool:
        """Return whether this task is to stop; for code in threads, which nobody can interrupt.

        Raises:
            TaskStateError: The task does not run in a worker.
        """
        run: Binding = _binding_of(self, "should_stop")
        return run.stopping or run.is_over

    def shell(self, command: str | Sequence[str], **options: Any) -> Any:
        """Run a command and wait for it; other tasks go on.

        The command and all it has started are killed when the task is stopped or its worker dies,
        and what is still left when the command has ended.

        Args:
            command: Text for ``/bin/sh``, or a list: a program and its arguments.
            **options: ``check`` (False: another code than 0 is no error), ``timeout`` (seconds
                until it is killed), ``cwd`` (where it runs) and ``env`` (added to the environment).

        Returns:
            A :class:`~pytask.shell.CommandResult`: ``code``, ``out`` and ``err``. In asyncio mode
            an awaitable of it.

        Raises:
            CommandFailed: It ended with another code than 0, took too long, or does not exist.
            TaskStateError: The task does not run in a worker.
        """
        return _binding_of(self, "shell").environment.shell(command, options)

    def emit(self, event: str, data: Any = None) -> Any:
        """Publish an event on the channel of this task.

        Subscribers get the object ``{"event": event, "data": data}`` in the format the serializer
        of the app writes. Nobody needs to listen, and nothing is stored.

        Args:
            event: Name of the event.
            data: Anything the serializer of the app has a form for.

        Returns:
            Nothing; in asyncio mode an awaitable. The event is sent without awaiting it, too, but
            only awaiting keeps the order of several and tells of errors.

        Raises:
            LeaseLost: This run is over: stopped, ended, or taken over by another worker.
            RedisUnavailable: Redis did not answer for ``redis_patience`` seconds.
            TaskStateError: The task does not run in a worker.
            TypeError: The serializer has no form for ``data``.
            ValueError: ``data`` holds NaN, an infinity or itself.
        """
        run: Binding = _binding_of(self, "emit")
        if run.is_over:
            raise LeaseLost(f"event {event!r} of task {run.task_id} was not sent: its run is over")
        store = run.environment.store
        return store.publish(run.task_id, event, encode_value(data, store.settings.serializer))

    def progress(self, done: float, total: float | None = None) -> Any:
        """Tell whoever follows this task how far it is: an event ``progress``.

        Its data are ``{"done": …, "total": …}``, without ``total`` if that is not known.

        Args:
            done: How much has been done.
            total: Of how much.

        Returns:
            As :meth:`emit`.

        Raises:
            LeaseLost: This run is over.
            RedisUnavailable: Redis did not answer for ``redis_patience`` seconds.
            TaskStateError: The task does not run in a worker.
        """
        return self.emit("progress", {"done": done} | ({} if total is None else {"total": total}))

    def lock(self, name: str, timeout: float = 10.0, wait: float | None = None) -> Lock:
        """Return a lock that one holder at a time has, in the whole fleet: ``with self.lock(…):``.

        A run that is stopped or moved gives it back as it leaves the ``with`` block; one that dies
        with its worker has it ``timeout`` seconds longer.

        Args:
            name: What is locked.
            timeout: Seconds after which it is free when its holder has died.
            wait: Longest time to wait for it, in seconds; 0: one attempt; None: for ever.

        Raises:
            InvalidTask: The name or a time cannot be used.
            TaskStateError: The task does not run in a worker.
        """
        run: Binding = _binding_of(self, "lock")
        return run.environment.helpers.lock(name, timeout, wait, owner=run.task_id)
