"""Runs the code of tasks in greenlets: one for each run, one more for its ``stop``.

A run whose mode ends it later has its greenlet until the code is handed over. What is left to do
when it has ended is done in the hub, or in another greenlet if it may have to wait.

The greenlets of runs are plain ones, not gevent's class: starting one costs 1 instead of 3 to 8
microseconds, and nobody waits for them. They tell the runner when they end; deadlines are kept
elsewhere. Only two frames lie below the code of a task, because each frame is memory that a
sleeping task holds.

A greenlet is interrupted from the hub, in a callback that looks once more whether user code is
still running: what is thrown never arrives in the worker's own code. A greenlet that blocks the
hub cannot be interrupted by anybody.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from gevent import Greenlet, get_hub
from greenlet import GreenletExit, greenlet

from pytask.concurrency.making import make_instance
from pytask.concurrency.other_modes import OtherModes
from pytask.concurrency.spares import Spares
from pytask.exceptions import UnknownTask
from pytask.settings import Settings
from pytask.states import State
from pytask.worker.outcomes import (
    NULL,
    STOPPING,
    UnfitResult,
    decode_data,
    describe,
    encode_result,
    judge,
)
from pytask.worker.registry import TaskRegistry, TaskType
from pytask.worker.retrying import next_try, policy_of
from pytask.worker.runs import (
    DONE,
    ENDING,
    KEEP,
    NEW,
    RELOADING,
    REQUEUE,
    STARTED,
    STARTING,
    Run,
)

logger = logging.getLogger(__name__)


class GreenletExecutor:
    """Carries out runs.

    Args:
        registry: The task classes.
        exception_handlers: Called with the exception of a task that ended in EXCEPTION.
        settings: The form of outputs, and their bound.
        conclude: Told how a run ended, in the run's own greenlet; it must not wait.
        time_out: Told which run has lasted too long; it must not wait.
        stop_ended: Told that ``stop()`` of a run is over, and whether it failed.
        modes: Execute what is not to be executed in its greenlet.
    """

    def __init__(
        self,
        registry: TaskRegistry,
        exception_handlers: Sequence[Callable[[BaseException], Any]],
        settings: Settings,
        conclude: Callable[[Run, State, bytes, float], None],
        time_out: Callable[[Run], None],
        stop_ended: Callable[[Run, bool], None],
        modes: OtherModes,
    ) -> None:
        self._registry = registry
        self._exception_handlers = exception_handlers
        self._settings = settings
        self._conclude = conclude
        self._time_out = time_out
        self._stop_ended = stop_ended
        self._modes = modes
        self._spares = Spares(self._execute)

    def start(self, run: Run) -> None:
        """Give a run its greenlet; the first line of it is executed by the next turn of the hub."""
        get_hub().loop.run_callback(self._begin, run)

    def _begin(self, run: Run) -> None:
        try:
            run.greenlet = self._spares.take()
            run.greenlet.switch(run)
        except BaseException as error:
            self._cannot_go_on(run, error)

    def keep_no_greenlets(self) -> None:
        """Let each greenlet end with its run: this is a forked child."""
        self._spares.keep_none()

    def drop_spares(self) -> None:
        """End the greenlets that wait for a run."""
        self._spares.drop()

    def type_of(self, run: Run) -> TaskType | None:
        """Return the class of a run, None if there is none of that name."""
        try:
            return self._registry.get(run.task)
        except UnknownTask:
            return None

    def interrupt(self, run: Run, error: type[BaseException], *, force: bool = False) -> None:
        """Throw ``error`` into user code of a run, unless it has ended by then.

        Args:
            run: The run.
            error: ``StopTask`` or ``GreenletExit``.
            force: Also while its context is being left, which is interrupted otherwise only if
                it hangs.
        """
        get_hub().loop.run_callback(_throw, run, run.greenlet, error, force)

    def call_stop(self, run: Run) -> None:
        """Call ``stop()`` of the task in a greenlet of its own, in the context of the run."""
        stopper = Greenlet(self._stop, run)
        # Flask and others keep their state in context variables.
        stopper.gr_context = run.context()
        run.stop_greenlet = stopper
        stopper.start()

    def interrupt_stop(self, run: Run) -> bool:
        """End a ``stop()`` that hangs; return whether there was one."""
        if run.stop_greenlet is None or run.stop_greenlet.dead:
            return False
        run.stop_greenlet.kill(block=False)
        return True

    def stack_of(self, run: Run) -> str:
        """Return the stack of a run, for a person to see where it hangs."""
        kind = self.type_of(run)
        if kind is not None and kind.mode:
            return self._modes.get(kind.mode).stack_of(run)
        frame = run.greenlet.gr_frame if run.greenlet is not None else None
        return "".join(traceback.format_stack(frame)) if frame is not None else "(no frame)"

    def _execute(self, run: Run) -> None:
        if run.intent != KEEP or run.phase != NEW:
            # Stopped before its first line.
            run.stopping = True
            self._conclude(run, State.STOPPED, NULL, 0.0)
            return
        run.phase = STARTING
        kind: TaskType | None = None
        delay = 0.0
        try:
            kind = self._registry.get(run.task)
            data = decode_data(run.task, run.data)
            if not run.is_local:  # that may have to be started again
                run.data = b""
            if kind.policy.timeout or run.policy:
                run.timer = self._limit(run, kind)
            if kind.ends_later:
                self._modes.later(kind.mode).hand_over(run, kind.task_class, data, self._ended)
                run.greenlet = None
                return
            live = self._live_elsewhere if kind.mode else self._live
            if kind.provide_context is None:
                value = live(run, kind, data)
            else:
                with kind.provide_context():
                    value = live(run, kind, data)
            output = NULL if value is None else self._encode(run, value)
            state = State.STOPPED if run.stopping else State.SUCCESS
        except BaseException as error:
            run.leave()
            state, output, delay = self._judge(run, kind, error)
        self._close(run, state, output, delay)

    def _ended(self, run: Run, value: Any, error: BaseException | None) -> None:
        """Go on with a run that was handed over and whose code has ended; called in the hub."""
        if run.phase == DONE:
            # Abandoned before: what it is told now does not count.
            self._close(run, State.STOPPED, NULL)
            return
        run.leave()
        output = NULL
        if error is None and value is not None:
            try:
                output = self._encode(run, value)
            except UnfitResult as unfit:
                error = unfit
        if error is None and run.stop_greenlet is None:
            self._close(run, State.STOPPED if run.stopping else State.SUCCESS, output)
            return
        # What may have to wait, for stop() or in an exception handler, does it in a greenlet.
        try:
            run.greenlet = greenlet(self._end, get_hub())
            run.greenlet.gr_context = run.instance.context()
            run.greenlet.switch(run, output, error)
        except BaseException as failure:
            self._cannot_go_on(run, failure)

    def _cannot_go_on(self, run: Run, error: BaseException) -> None:
        """Give back a task whose greenlet could not be entered: no memory for its stack."""
        logger.error(
            "task %s (%s) could not go on, and is put back on its queue: %r",
            run.task_id,
            run.task,
            error,
        )
        run.stopping = True
        run.intent = max(run.intent, REQUEUE)
        self._close(run, State.STOPPED, NULL)

    def _end(self, run: Run, output: bytes, error: BaseException | None) -> None:
        state, delay = State.STOPPED if run.stopping else State.SUCCESS, 0.0
        try:
            if run.stop_greenlet is not None:
                run.stop_greenlet.join()
        except BaseException as interruption:
            if error is None:
                error = interruption
        if error is not None:
            state, output, delay = self._judge(run, self.type_of(run), error)
        self._close(run, state, output, delay)

    def _close(self, run: Run, state: State, output: bytes, delay: float = 0.0) -> None:
        if run.timer is not None:
            run.timer.close()
            run.timer = None
        self._conclude(run, state, output, delay)

    def _limit(self, run: Run, kind: TaskType) -> Any:
        """Start the timer of a run that may not last for ever; None if it may."""
        seconds = policy_of(run, kind.policy).timeout
        if not seconds:
            return None
        timer = get_hub().loop.timer(seconds)
        timer.start(self._time_out, run)
        return timer

    def _live_elsewhere(self, run: Run, kind: TaskType, data: dict[str, Any]) -> Any:
        try:
            return self._modes.get(kind.mode).carry_out(run, kind.task_class, data)
        finally:
            run.leave()
            if run.stop_greenlet is not None:
                run.stop_greenlet.join()

    def _live(self, run: Run, kind: TaskType, data: dict[str, Any]) -> Any:
        try:
            instance = make_instance(kind.task_class, run, run.task, data, run)
            data = None  # type: ignore[assignment]  # the instance has what it wants of it
            run.enter()
            return instance.start()
        finally:
            run.leave()
            if run.stop_greenlet is not None:
                # The context must outlast stop() as well.
                run.stop_greenlet.join()

    def _encode(self, run: Run, value: Any) -> bytes:
        try:
            return encode_result(run.task, value, self._settings)
        except UnfitResult:
            if run.stopping:
                # Often what is left of a killed helper greenlet.
                return NULL
            raise

    def _judge(
        self, run: Run, kind: TaskType | None, error: BaseException
    ) -> tuple[State, bytes, float]:
        if run.stopping:
            if not isinstance(error, STOPPING):
                logger.warning(
                    "task %s (%s) raised while it was stopped; it counts as stopped",
                    run.task_id,
                    run.task,
                    exc_info=error,
                )
            return State.STOPPED, NULL, 0.0
        task_class = kind.task_class if kind is not None else None
        state, output = judge(error, task_class, self._settings)
        delay = next_try(run, kind.policy, error, state) if kind is not None else None
        if state is State.EXCEPTION:
            logger.warning(
                "task %s (%s) ended in EXCEPTION: %s; its output has the details"
                if delay is None
                else "task %s (%s) raised %s; it is tried again",
                run.task_id,
                run.task,
                type(error).__name__,
            )
            for handler in self._exception_handlers:
                self._tell(handler, run, error)
        if delay is not None:
            return State.RETRY, output, delay
        run.error = describe(error, state, self._settings.max_output_bytes)
        return state, output, 0.0

    def _tell(
        self, handler: Callable[[BaseException], Any], run: Run, error: BaseException
    ) -> None:
        try:
            handler(error)
        except BaseException as failure:
            logger.error(
                "exception handler %r failed on task %s; the task is not affected",
                handler,
                run.task_id,
                exc_info=failure,
            )

    def _stop(self, run: Run) -> None:
        failed = False
        try:
            run.instance.stop()
        except GreenletExit:
            pass  # interrupted because it hung
        except BaseException as error:
            failed = True
            logger.error(
                "stop() of task %s (%s) failed; it is stopped from outside",
                run.task_id,
                run.task,
                exc_info=error,
            )
        self._stop_ended(run, failed)


def _throw(run: Run, target: greenlet | None, error: type[BaseException], force: bool) -> None:
    if run.greenlet is None and run.phase == STARTED:
        if run.stopping:
            run.instance.interrupt(error is GreenletExit)
        return
    if (
        target is None
        or run.greenlet is not target
        or target.dead
        or run.phase in (NEW, RELOADING, DONE)
    ):
        return
    if run.phase == ENDING and not force:
        return
    target.throw(error)
