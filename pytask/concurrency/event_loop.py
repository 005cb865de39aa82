"""asyncio mode: ``async def start`` is awaited on an event loop in a native thread.

All asyncio tasks of a worker share that loop. A run that is handed over has no greenlet until it
ends: what it costs meanwhile is its coroutine, and what asyncio keeps for that. Starts and ends
cross between hub and loop in batches, so ten thousand of them are not as many wake-ups. A stop
cancels the coroutine; its ``finally`` and ``async with`` are done before the run counts as ended.

The loop's thread reads of a run what does not change, and never changes it: all that is decided
about runs is decided in the hub.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent import Greenlet

from pytask.concurrency.door import Door, Ticket, outcome_of
from pytask.concurrency.loop_thread import LoopThread, settle
from pytask.concurrency.making import make_instance
from pytask.concurrency.workplaces import HubPlace, is_handle
from pytask.exceptions import StopTask
from pytask.http_clients import make_async_client
from pytask.worker.runs import Run

if TYPE_CHECKING:
    from pytask.concurrency.modes import Ended

#: Threads for ``asyncio.to_thread`` and the names of hosts.
_THREADS = 16
#: Seconds the end of a worker waits for the end of the loop.
_CLOSING = 2.0


class LoopMode:
    """Executes tasks on one event loop, which is started when it is first needed.

    Args:
        place: The environment of tasks in greenlets.
        door: The way from the loop into the hub.
    """

    def __init__(self, place: HubPlace, door: Door) -> None:
        self._place: Any = LoopPlace(place, door, self)
        self._door = door
        self._thread: LoopThread | None = None
        self._http: Any = None

    @property
    def thread(self) -> LoopThread:
        if self._thread is None:
            self._thread = LoopThread(self._door, _THREADS)
        return self._thread

    @property
    def http(self) -> Any:
        """The HTTP client of all tasks on the loop."""
        if self._http is None:
            self._http = make_async_client()
        return self._http

    def carry_out(self, run: Run, task_class: type[Any], data: dict[str, Any]) -> Any:
        ticket = Ticket()
        self.hand_over(run, task_class, data, lambda _, *outcome: ticket.settle(*outcome))
        return ticket.wait(run.instance.interrupt)

    def hand_over(
        self, run: Run, task_class: type[Any], data: dict[str, Any], ended: Ended
    ) -> None:
        run.environment = self._place
        instance = make_instance(task_class, run, run.task, data, run)
        running = run.instance = _Running(self, run, instance, ended)
        run.enter()
        self.thread.run_soon(running.begin)

    def stack_of(self, run: Run) -> str:
        running = run.instance
        return running.stack() if isinstance(running, _Running) else "(no frame)"

    def close(self) -> None:
        if self._thread is None:
            return
        self._thread.close(self._close_http)
        with gevent.Timeout(_CLOSING, False):  # type: ignore[arg-type]
            while not self._thread.has_ended:
                gevent.sleep(0.005)

    async def _close_http(self) -> None:
        if self._http is not None:
            await self._http.aclose()


class _Running:
    """One run on the loop; what the runner knows as its instance."""

    __slots__ = ("_context", "_ended", "_instance", "_mode", "_run", "_task")

    def __init__(self, mode: LoopMode, run: Run, instance: Any, ended: Ended) -> None:
        self._mode = mode
        self._run = run
        self._instance = instance
        self._ended = ended
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[Any] | None = None

    def context(self) -> contextvars.Context:
        """Return a copy of the context of the coroutine."""
        return self._context.copy()

    def interrupt(self, firmly: bool) -> None:
        """Cancel the coroutine; called in the hub."""
        self._mode.thread.run_soon(self._cancel)

    def stop(self) -> None:
        """Call ``stop`` of the task, which may be ``async``, on the loop, and wait for it."""
        ticket = Ticket()
        self._mode.thread.run_soon(self._call_stop, ticket)
        ticket.wait()

    def stack(self) -> str:
        text = io.StringIO()
        if self._task is not None:
            self._task.print_stack(file=text)
        return text.getvalue() or "(no frame)"

    # From here on: on the loop.

    def begin(self) -> None:
        """Start the coroutine."""
        try:
            coroutine = self._instance.start()
            self._task = self._mode.thread.create_task(coroutine, self._context, self._run.task_id)
        except BaseException as error:
            self._tell(None, error)
            return
        # Without a context it would make and keep a copy of the current one.
        self._task.add_done_callback(self, context=self._context)

    def __call__(self, task: asyncio.Task[Any]) -> None:
        """Tell the hub that the coroutine has ended; asyncio calls this, once."""
        value, error = outcome_of(task.result)
        if isinstance(error, asyncio.CancelledError) and self._run.stopping:
            error = StopTask()
        self._tell(value, error)

    def _tell(self, value: Any, error: BaseException | None) -> None:
        self._mode._door.run_soon(self._ended, self._run, value, error)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel("the task was stopped")

    def _call_stop(self, ticket: Ticket) -> None:
        async def stop() -> None:
            result = self._instance.stop()
            if inspect.isawaitable(result):
                await result

        # Not the same context object: the coroutine may be entered already.
        task = self._mode.thread.create_task(stop(), self.context())
        task.add_done_callback(partial(self._stop_done, ticket))

    def _stop_done(self, ticket: Ticket, task: asyncio.Task[Any]) -> None:
        error = StopTask() if task.cancelled() else task.exception()
        self._mode._door.run_soon(ticket.settle, None, error)


class LoopPlace:
    """The environment of tasks on the loop: what takes time returns an awaitable.

    Args:
        hub_place: That of the hub.
        door: The way into the hub.
        mode: Has the loop and the HTTP client.
    """

    def __init__(self, hub_place: HubPlace, door: Door, mode: LoopMode) -> None:
        self._place = hub_place
        self._door = door
        self._mode = mode

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._place, name)
        return value if self._door.is_here else Awaited(value, self._ask)

    @property
    def http(self) -> Any:
        return self._place.http if self._door.is_here else self._mode.http

    def shell(self, command: Any, options: dict[str, Any]) -> Any:
        if self._door.is_here:
            return self._place.shell(command, options)
        return self._ask(partial(self._place.shell, command, options))

    def _ask(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Have a greenlet of the hub call a function; cancelling the future ends the greenlet."""
        thread = self._mode.thread
        future = thread.create_future()
        function = partial(contextvars.copy_context().run, function)
        greenlet = _Call(function, thread, future, self._door)
        self._door.run_soon(greenlet.start)
        future.add_done_callback(partial(self._forsake, greenlet))
        return future

    def _forsake(self, greenlet: _Call, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._door.run_soon(greenlet.end)


class _Call:
    """What the hub does for a coroutine."""

    def __init__(
        self,
        function: Callable[[], Any],
        thread: LoopThread,
        future: asyncio.Future[Any],
        door: Door,
    ) -> None:
        self._function = function
        self._thread = thread
        self._door = door
        self._future = future
        self._greenlet: Greenlet[..., Any] | None = None

    def start(self) -> None:
        if not self._future.cancelled():
            self._greenlet = self._door.spawn(self._main)

    def end(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill(StopTask, block=False)

    def _main(self) -> None:
        self._thread.run_soon(settle, self._future, *outcome_of(self._function))


class Awaited:
    """Something whose methods return awaitables, because the hub executes them.

    Args:
        target: The thing itself.
        ask: Has a function without arguments executed, and returns an awaitable.
    """

    def __init__(self, target: Any, ask: Callable[[Callable[[], Any]], Any]) -> None:
        self._target = target
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        if isinstance(getattr(type(self._target), name, None), property):
            return self._call(getattr, self._target, name)
        value = getattr(self._target, name)
        return partial(self._call, value) if callable(value) else value

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # Under way at once, whether or not somebody awaits it.
        return self._ask(partial(self._in_hub, partial(function, *args, **kwargs)))

    def _in_hub(self, function: Callable[[], Any]) -> Any:
        value = function()
        return Awaited(value, self._ask) if is_handle(value) else value

    def __await__(self) -> Any:
        return self._call(self._target.result).__await__()

    def __aiter__(self) -> Awaited:
        return self

    async def __anext__(self) -> Any:
        done = object()
        value = await self._ask(partial(next, self._target, done))
        if value is done:
            raise StopAsyncIteration
        return value

    async def __aenter__(self) -> Awaited:
        await self._ask(self._target.__enter__)
        return self

    async def __aexit__(self, *details: Any) -> Any:
        return await self._ask(partial(self._target.__exit__, *details))
