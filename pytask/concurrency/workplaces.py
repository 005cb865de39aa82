"""What tasks are given: Redis, helpers, commands and an HTTP client, fit for where they run."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from gevent import Greenlet

from pytask.concurrency.commands import run_command
from pytask.concurrency.door import Door
from pytask.exceptions import StopTask
from pytask.http_clients import make_client
from pytask.shell import CommandResult
from pytask.task import TaskEnvironment

#: What comes back from a call and has methods that talk to Redis.
_HANDLES = ("pytask.future", "redis", "rediscluster")


class HubPlace:
    """The environment of tasks in greenlets; the others are made from it.

    Args:
        app: What all tasks of the worker share.
    """

    def __init__(self, app: TaskEnvironment) -> None:
        self._app = app
        self._http: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    @property
    def http(self) -> Any:
        if self._http is None:
            self._http = make_client()
        return self._http

    def shell(self, command: Any, options: dict[str, Any]) -> CommandResult:
        return run_command(command, **options)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


class Bound:
    """A run as the instance of a task in another mode knows it.

    Args:
        run: The run.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self.task_id: str = run.task_id
        self.token: str = run.token
        self.attempt: int = run.attempt
        #: What the hub does for this run right now.
        self.calls: set[Greenlet[..., Any]] = set()
        self.environment: Any = None

    @property
    def is_over(self) -> bool:
        return bool(self._run.is_over)

    @property
    def stopping(self) -> bool:
        return bool(self._run.stopping)

    def begun(self, greenlet: Greenlet[..., Any]) -> None:
        """Remember a call until it has ended; called in the hub."""
        self.calls.add(greenlet)
        greenlet.rawlink(self.calls.discard)

    def interrupt_calls(self) -> None:
        """End the calls under way, so that whoever waits for them goes on."""
        for greenlet in list(self.calls):
            greenlet.kill(StopTask, block=False)


def is_handle(value: Any) -> bool:
    """Whether a value has methods that talk to Redis, so that it must not leave the hub."""
    if isinstance(value, tuple):
        return False
    module = type(value).__module__
    is_of_handles = module.partition(".")[0] in _HANDLES or module in _HANDLES
    return is_of_handles or isinstance(value, Iterator)


class InHub:
    """Something whose methods are executed in the hub while the calling thread waits.

    Args:
        target: The thing itself.
        ask: Has a function without arguments executed, and returns what it returns.
    """

    def __init__(self, target: Any, ask: Callable[[Callable[[], Any]], Any]) -> None:
        self._target = target
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        if isinstance(getattr(type(self._target), name, None), property):
            return self._ask(partial(getattr, self._target, name))
        value = getattr(self._target, name)
        return partial(self._call, value) if callable(value) else value

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        value = self._ask(partial(function, *args, **kwargs))
        return InHub(value, self._ask) if is_handle(value) else value

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        done = object()
        value = self._ask(partial(next, self._target, done))
        if value is done:
            raise StopIteration
        return value

    def __enter__(self) -> Any:
        self._ask(self._target.__enter__)
        return self

    def __exit__(self, *details: Any) -> Any:
        return self._ask(partial(self._target.__exit__, *details))


class ThreadPlace:
    """The environment of one run in a thread of the pool.

    Args:
        hub_place: That of the hub.
        door: The way into the hub.
        bound: The run.
        http: Returns the client of the current thread.
    """

    def __init__(
        self, hub_place: HubPlace, door: Door, bound: Bound, http: Callable[[], Any]
    ) -> None:
        self._place = hub_place
        self._door = door
        self._bound = bound
        self._http = http

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._place, name)
        return value if self._door.is_here else InHub(value, self._ask)

    @property
    def http(self) -> Any:
        return self._place.http if self._door.is_here else self._http()

    def shell(self, command: Any, options: dict[str, Any]) -> CommandResult:
        done: CommandResult = self._ask(partial(self._place.shell, command, options))
        return done

    def _ask(self, function: Callable[[], Any]) -> Any:
        context = contextvars.copy_context()
        return self._door.call(partial(context.run, function), self._bound.begun)
