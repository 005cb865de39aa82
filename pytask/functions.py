"""Functions as tasks: what ``@app.task`` makes of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar

from pytask.exceptions import ConfigurationError
from pytask.policy import Policy
from pytask.signatures import Signature
from pytask.task import Task

if TYPE_CHECKING:
    from pytask.future import TaskFuture
    from pytask.helpers import PyTaskHelpers

P = ParamSpec("P")
R = TypeVar("R")


class TaskFunction(Generic[P, R]):
    """A function that can run as a task; calling it runs it here and now.

    Example::

        @app.task(name="mail/send", max_retries=5, timeout=30)
        def send(to: str, subject: str = "hello") -> int: ...

        send("a@b.c")                                   # here
        future = send.submit("a@b.c", subject="hi")     # in a worker
        send.options(delay=60, queue="mail").submit("a@b.c")

    Attributes:
        name: What the task is called.
        policy: How it is treated.
        task_class: The task class a worker makes of it.
    """

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        policy: Policy,
        helpers: PyTaskHelpers,
        concurrency: str | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = name
        self.policy = policy
        self._function = function
        self._helpers = helpers
        self._signature = Signature(function, name)
        self.task_class = _make_class(self, concurrency)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, without Redis."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name!r}: {self._function!r}>"

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture:
        """Start a task that calls the function with these arguments.

        Returns:
            A handle on it.

        Raises:
            InvalidTask: The arguments do not fit the function, or cannot be stored.
            RedisUnavailable: Redis did not answer in time; it may or may not have been started.
            RedisRefused: Redis is full.
        """
        return self._submit({}, args, kwargs)

    def options(self, **options: Any) -> Submission[P]:
        """Decide otherwise for one task: ``send.options(delay=60).submit("a@b.c")``.

        Args:
            **options: Any of ``task_id``, ``cleanup``, ``queue``, ``delay``, ``at``,
                ``expires``, ``max_retries``, ``retry_delay`` (seconds), ``timeout``,
                ``max_concurrency``, ``on_limit``, ``watch`` and ``callback``; see
                :meth:`pytask.PyTaskHelpers.submit`.
        """
        return Submission(self, options)

    def request(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Return the request for a task, for :meth:`pytask.PyTaskHelpers.start_tasks`.

        Raises:
            InvalidTask: The arguments do not fit the function.
        """
        return {"task": self.name, "data": self._data(args, kwargs)}

    def _submit(
        self, options: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TaskFuture:
        return self._helpers.submit(self.name, self._data(args, kwargs), **options)

    def _data(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self._signature.to_data(args, kwargs, self._helpers.settings.serializer)

    def call_with(self, data: dict[str, Any]) -> Callable[[], R]:
        """Return the call that data stand for.

        Raises:
            InvalidTask: They do not fit the function.
        """
        args, kwargs = self._signature.to_call(data)
        return functools.partial(self._function, *args, **kwargs)

    def overlap_of(self, **data: Any) -> Any:
        """Ask ``can_overlap``, which takes the same arguments as the function, about some data.

        Raises:
            InvalidTask: The data do not fit the function.
        """
        args, kwargs = self._signature.to_call(data)
        decide = self.policy.can_overlap
        return decide(*args, **kwargs) if callable(decide) else decide


class Submission(Generic[P]):
    """A task function with options for the next task; see :meth:`TaskFunction.options`."""

    def __init__(self, function: TaskFunction[P, Any], options: dict[str, Any]) -> None:
        self._function = function
        self._options = options

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture:
        """Start a task; see :meth:`TaskFunction.submit`.

        Raises:
            InvalidTask: An option is unknown or cannot be stored, or as there.
        """
        return self._function._submit(self._options, args, kwargs)

    def request(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Return the request for a task; see :meth:`TaskFunction.request`."""
        return {**self._function.request(*args, **kwargs), **self._options}


class FunctionTask(Task):
    """What the task classes of functions have in common."""

    ABSTRACT = True
    FUNCTION: ClassVar[TaskFunction[..., Any]]

    def __init__(self, **data: Any) -> None:
        self._call = self.FUNCTION.call_with(data)

    def start(self) -> Any:
        """Call the function."""
        return self._call()


class AsyncFunctionTask(FunctionTask):
    """The same for ``async`` functions."""

    ABSTRACT = True

    async def start(self) -> Any:
        """Await the function."""
        return await self._call()


def _make_class(function: TaskFunction[..., Any], concurrency: str | None) -> type[FunctionTask]:
    policy = function.policy
    attributes = {name.upper(): getattr(policy, name) for name in Policy.__slots__}
    # A plain function that is the value of a class attribute would become a method.
    if callable(policy.retry_delay):
        attributes["RETRY_DELAY"] = staticmethod(policy.retry_delay)
    if callable(policy.can_overlap):
        attributes["CAN_OVERLAP"] = staticmethod(function.overlap_of)
    qualified = getattr(function, "__qualname__", function.name)
    module = getattr(function, "__module__", __name__)
    names = {"NAME": function.name, "FUNCTION": function, "__module__": module}
    if concurrency is not None:
        names["CONCURRENCY"] = concurrency
    is_async = inspect.iscoroutinefunction(function._function)
    base = AsyncFunctionTask if is_async else FunctionTask
    return type(qualified, (base,), {**attributes, **names})


def decorate(
    function: Callable[P, R],
    name: str | None,
    options: dict[str, Any],
    helpers: PyTaskHelpers,
) -> TaskFunction[P, R]:
    """Make a task of a function.

    Args:
        function: The function.
        name: What the task is called; None: as the function.
        options: Of its policy.
        helpers: Start its tasks.

    Raises:
        ConfigurationError: It is no function, or an option cannot be used.
    """
    if not callable(function) or isinstance(function, type):
        raise ConfigurationError(f"{function!r} is no function; add a task class by add_task")
    name = function.__name__ if name is None else name
    concurrency = options.pop("concurrency", None)
    policy = Policy.checked(f"task {name!r}", options)
    return TaskFunction(function, name, policy, helpers, concurrency)
