"""Greenlets that carry out one run after the other.

A fresh greenlet costs a memory mapping, its end another call, and its first line a page fault:
together as much as everything else a worker does for a short task. So one that has ended its run
waits for the next, unless somebody still knows it: a time-out that was never cancelled would hit
whatever runs in it by then, and what gevent keeps for each greenlet would be there for the next
task to see.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

from gevent import get_hub
from greenlet import getcurrent, greenlet

from pytask.worker.runs import Run

#: Most greenlets that wait for a run, more than one claim takes; each holds some 6 KB.
MOST = 500


def _take_last(pool: list[Any]) -> tuple[Any, int]:
    """Return the last one and how many references to it there are, our own included."""
    last = pool.pop()
    return last, getrefcount(last)


#: References to what nobody knows but us.
_UNKNOWN = _take_last([object()])[1]


class Spares:
    """Gives each run a greenlet of its own for as long as it lasts.

    Args:
        execute: Carries out one run, raises nothing, and keeps no reference to the greenlet.
    """

    def __init__(self, execute: Callable[[Run], None]) -> None:
        self._execute = execute
        self._waiting: list[greenlet] = []
        self._keeping = True

    def take(self) -> greenlet:
        """Return a greenlet to be switched to with a run; in a context of its own."""
        while self._waiting:
            spare: greenlet
            spare, references = _take_last(self._waiting)
            if references == _UNKNOWN and not getweakrefcount(spare) and not spare.dead:
                return spare
        return greenlet(self._serve, get_hub())

    def drop(self) -> None:
        """End the greenlets that wait for a run."""
        self._waiting.clear()

    def keep_none(self) -> None:
        """Let greenlets end with their runs from now on: this is a forked child."""
        self._keeping = False

    def _serve(self, run: Run | None) -> None:
        while run is not None:
            self._execute(run)
            if not self._keeping or len(self._waiting) >= MOST:
                return
            me = getcurrent()
            # What the run has set ends with it.
            me.gr_context = Context()
            self._waiting.append(me)
            hub: Any = me.parent
            # A frame that waits holds neither its greenlet, as if somebody knew it, nor the run.
            del me
            run = None
            try:
                run = hub.switch()
            except BaseException:
                # Meant for a run that is over.
                return
