"""Ends greenlets of the worker that a forked child has copies of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from gevent import get_hub, getcurrent
from greenlet import GreenletExit

#: EV_TIMER: what a watcher of this kind is told that happened.
_TIMEOUT = 0x100


def end_here(doomed: Any) -> None:
    """Throw ``GreenletExit`` into a greenlet and return when it has ended, or waits for something.

    ``gevent.kill`` has the hub throw, and the hub first resumes whatever else is ready: in a forked
    child all that was about to go on in its parent. Here nothing else runs; where the greenlet
    waits in what it leaves behind, next to nothing.

    Args:
        doomed: Any greenlet of this thread; the current one is left alone.
    """
    current = getcurrent()
    if doomed is current or doomed.dead:
        return
    parent = doomed.parent
    way_back = _next_in_hub(current.switch)
    # What it raises is its own trouble; and one of another thread, which a child does not have,
    # cannot be thrown into.
    with suppress(BaseException):
        doomed.parent = current
        doomed.throw(GreenletExit)
    way_back()
    if not doomed.dead:
        # It ends later, and not into whatever this greenlet does by then.
        with suppress(ValueError):
            doomed.parent = parent


def _next_in_hub(function: Callable[[], Any]) -> Callable[[], Any]:
    """Let the hub call a function as soon as it runs; return what cancels that."""
    loop: Any = get_hub().loop
    watcher = loop.timer(0)
    if not hasattr(watcher, "feed"):
        return cast(Callable[[], Any], loop.run_callback(function).stop)
    # Of all that has happened already libev attends first to what has the highest priority.
    watcher.priority = loop.MAXPRI
    watcher.feed(_TIMEOUT, function)
    return cast(Callable[[], Any], watcher.close)
