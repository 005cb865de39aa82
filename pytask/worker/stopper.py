"""Makes runs stop, by steps, however they behave.

::

    stop() defined      1  stop() runs; start() may return by itself
                           after stop_timeout, or as soon as stop() failed:
    not defined         2  StopTask is thrown into the run
                           after stop_timeout:
                        3  GreenletExit is thrown, once
                           after stop_timeout, at most a second:
                        4  the run is abandoned: its greenlet may go on, its writes are refused

A run is never interrupted twice without a pause, because the first interruption may have it in a
``finally`` that does something worth while. One greenlet keeps the deadlines of all runs: a worker
may have to stop a hundred thousand at once.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections.abc import Callable

from greenlet import GreenletExit

from pytask.concurrency.greenlet import GreenletExecutor
from pytask.exceptions import StopTask
from pytask.worker.runs import DONE, ENDING, RELOADING, STARTED, Run
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

_ASKED = 1
_INTERRUPTED = 2
_KILLED = 3

#: The last wait needs not be long: a run that swallowed two interruptions will not obey.
_LAST_WAIT = 1.0


class Stopper(Service):
    """Keeps the deadlines of runs that were told to stop.

    Args:
        executor: Interrupts runs and calls their ``stop``.
        abandon: Told which run would not stop; it must not wait.
    """

    name = "stopper"

    def __init__(self, executor: GreenletExecutor, abandon: Callable[[Run], None]) -> None:
        super().__init__()
        self._executor = executor
        self._abandon = abandon
        self._numbers = itertools.count()
        self._deadlines: list[tuple[float, int, Run, int, float]] = []

    def begin(self, run: Run, patience: float) -> None:
        """Stop a run whose code has begun, giving it ``patience`` seconds per step."""
        if run.phase == ENDING:
            # It ends by itself, unless its context or an exception handler hangs.
            self._expect(run, _INTERRUPTED, patience)
            return
        run.stopping = True
        kind = self._executor.type_of(run)
        if run.phase == STARTED and kind is not None and kind.defines_stop:
            self._expect(run, _ASKED, patience)
            self._executor.call_stop(run)
        else:
            self._interrupt(run, patience)

    def hasten(self, run: Run, patience: float) -> None:
        """Shorten the step a stopping run is at to ``patience`` seconds from now."""
        self._expect(run, run.step, patience)

    def stop_ended(self, run: Run, failed: bool) -> None:
        """Note that ``stop()`` of a run is over: once it failed there is nothing to wait for."""
        if failed and run.step == _ASKED:
            self._expect(run, _ASKED, 0.0)

    def run_once(self) -> None:
        """Wait for the next deadline, then go on with every run whose deadline is over."""
        if not self._deadlines:
            self.pause(None)
            return
        wait = self._deadlines[0][0] - time.monotonic()
        if wait > 0:
            self.pause(wait)
            return
        _, _, run, step, patience = heapq.heappop(self._deadlines)
        # An entry is out of date when the run has ended or went on to another step.
        if run.step == step and run.phase not in (DONE, RELOADING):
            self._escalate(run, patience)

    def _expect(self, run: Run, step: int, patience: float) -> None:
        run.step = step
        entry = (time.monotonic() + patience, next(self._numbers), run, step, patience)
        heapq.heappush(self._deadlines, entry)
        if self._deadlines[0] is entry:
            self.wake()

    def _escalate(self, run: Run, patience: float) -> None:
        if run.step == _ASKED:
            if self._executor.interrupt_stop(run):
                logger.warning(
                    "stop() of task %s (%s) did not return in time; it is interrupted",
                    run.task_id,
                    run.task,
                )
            self._interrupt(run, patience)
        elif run.step == _INTERRUPTED:
            logger.warning(
                "task %s (%s) did not stop within %.1f s; it is interrupted once more",
                run.task_id,
                run.task,
                patience,
            )
            run.stopping = True
            self._expect(run, _KILLED, min(patience, _LAST_WAIT))
            self._executor.interrupt(run, GreenletExit, force=True)
        else:
            logger.error(
                "task %s (%s) cannot be stopped: its code goes on, its slot is free and what it "
                "writes is refused; it hangs here:\n%s",
                run.task_id,
                run.task,
                self._executor.stack_of(run),
            )
            self._abandon(run)

    def _interrupt(self, run: Run, patience: float) -> None:
        self._expect(run, _INTERRUPTED, patience)
        self._executor.interrupt(run, StopTask)
