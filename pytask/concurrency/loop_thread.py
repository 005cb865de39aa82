"""An event loop of asyncio in a native thread, in a process whose standard library is patched.

What gevent's patches mean for it, and what is done about it:

* The selectors that wait in the kernel are gone from :mod:`selectors`; the loop is given the
  original one.
* Sockets are gevent's. The loop sets each to non-blocking, and then they never ask gevent's hub;
  they only take note of the one of their thread, which never runs.
* ``threading.Thread`` starts greenlets, so the loop's default executor would never do anything.
  What it is for (``asyncio.to_thread``, names of hosts) is done by gevent's thread pool.
* The hub of the worker exists before this thread does: two threads that make their first hub at the
  same time wait for each other's imports.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from gevent import get_hub, monkey, spawn
from gevent.threadpool import ThreadPool

from pytask.concurrency.door import Door, outcome_of

logger = logging.getLogger(__name__)

_start_thread = monkey.get_original("_thread", "start_new_thread")
_get_ident = monkey.get_original("_thread", "get_ident")
_new_lock = monkey.get_original("_thread", "allocate_lock")
_Selector: Any = monkey.get_original("selectors", "DefaultSelector")
_getaddrinfo = monkey.get_original("socket", "getaddrinfo")
_getnameinfo = monkey.get_original("socket", "getnameinfo")


class _Loop(asyncio.SelectorEventLoop):
    """The loop; what it would give to threads of its own goes to a pool of the hub."""

    to_pool: Callable[[Callable[[], Any]], asyncio.Future[Any]]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        return self.to_pool(partial(func, *args))

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        return await self.to_pool(partial(_getaddrinfo, host, port, family, type, proto, flags))

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        return await self.to_pool(partial(_getnameinfo, sockaddr, flags))


class LoopThread:
    """The thread with the loop; started when it is made, from the hub.

    Args:
        door: The way back into the hub.
        threads: Threads for ``asyncio.to_thread`` and the names of hosts.
    """

    def __init__(self, door: Door, threads: int) -> None:
        self._door = door
        self._pool = ThreadPool(threads)
        self._requests: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._is_woken = False
        self._is_over = False
        self._ended = _new_lock()
        self._ended.acquire()
        self.ident = 0
        self._loop = _Loop(_Selector())
        self._loop.to_pool = self._to_pool
        get_hub()
        _start_thread(self._main, ())

    def run_soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Have the loop call a function; many calls wake it once. For any thread."""
        self._requests.append((function, args))
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._on_requests)
            except RuntimeError:
                logger.debug("a call for the event loop came after its end")

    def create_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def create_task(
        self, coroutine: Any, context: Any, name: str | None = None
    ) -> asyncio.Task[Any]:
        """Start a coroutine; called on the loop."""
        return self._loop.create_task(coroutine, name=name, context=context)

    def close(self, until_closed: Callable[[], Any]) -> None:
        """End the loop; what still runs there is cancelled and given a moment.

        Args:
            until_closed: Returns a coroutine that is awaited at the end.
        """
        self._loop.call_soon_threadsafe(self._last, until_closed)

    @property
    def has_ended(self) -> bool:
        return not self._ended.locked()

    def _last(self, until_closed: Callable[[], Any]) -> None:
        self._closing = self._loop.create_task(self._finish(until_closed))
        self._closing.add_done_callback(self._end)

    def _end(self, _: Any) -> None:
        self._is_over = True
        self._loop.stop()

    async def _finish(self, until_closed: Callable[[], Any]) -> None:
        left = asyncio.all_tasks() - {self._closing}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=0.5)
        await until_closed()
        await self._loop.shutdown_asyncgens()

    def _main(self) -> None:
        # Debuggers and coverage hook themselves into threading, which this thread bypasses.
        sys.settrace(threading.gettrace())
        self.ident = _get_ident()
        asyncio.set_event_loop(self._loop)
        try:
            while not self._is_over:
                # A coroutine raised it, and has it as its outcome; the loop is that of all others.
                with suppress(SystemExit, KeyboardInterrupt):
                    self._loop.run_forever()
        finally:
            self._loop.close()
            # The hub this thread has because of its sockets.
            get_hub().destroy(destroy_loop=True)
            self._ended.release()

    def _on_requests(self) -> None:
        # Before they are read: one that comes now wakes the loop again.
        self._is_woken = False
        while self._requests:
            function, args = self._requests.popleft()
            try:
                function(*args)
            except Exception:
                logger.exception("a request to the event loop failed; the others go on")

    def _to_pool(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        future = self.create_future()
        self._door.run_soon(self._spawn, function, future)
        return future

    def _spawn(self, function: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        # In a greenlet: it waits while all threads are taken.
        spawn(self._pool.spawn, self._in_pool, function, future)

    def _in_pool(self, function: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.run_soon(settle, future, *outcome_of(function))


def settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    """Give a future its outcome, unless nobody waits for it any more; called on the loop."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError(repr(error)))
    else:
        future.set_exception(error)
