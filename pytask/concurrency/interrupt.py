"""Ends greenlets of the worker that a forked child has copies of."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from gevent import get_hub, getcurrent
from greenlet import GreenletExit


def end_here(doomed: Any) -> None:
    """Throw ``GreenletExit`` into a greenlet and return when it has ended, or waits for something.

    ``gevent.kill`` has the hub throw, and the hub first resumes whatever else is ready: in a forked
    child all that was about to go on in its parent. Here nothing else runs, unless what the
    greenlet leaves waits.

    Args:
        doomed: Any greenlet of this thread; the current one is left alone.
    """
    current = getcurrent()
    if doomed is current or doomed.dead:
        return
    parent = doomed.parent
    way_back = get_hub().loop.run_callback(current.switch)
    # What it raises is its own trouble; and one of another thread, which a child does not have,
    # cannot be thrown into.
    with suppress(BaseException):
        doomed.parent = current
        doomed.throw(GreenletExit)
    way_back.stop()
    if not doomed.dead:
        # It ends later, and not into whatever this greenlet does by then.
        with suppress(ValueError):
            doomed.parent = parent
