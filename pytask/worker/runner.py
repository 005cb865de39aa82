"""Starts claimed tasks, carries out what is asked of them, and decides how they ended.

A run ends once. Whoever reports it first, its greenlet or the stopper that gave it up, sets its
phase to ``DONE``; what comes later is ignored. What becomes of it follows from its intent:

* nothing was asked, or the task ended before a stop took effect: the outcome is stored,
* ``STOP``: it is stored as STOPPED,
* ``TIME_OUT``: it is stored as REVOKED,
* ``REQUEUE``: the task goes back to its queue,
* ``RELOAD``: it starts again under the same token, with the data its record has now,
* ``LOST``: nothing is written, because the task belongs to somebody else by now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from typing import Protocol

import gevent
from gevent.pool import Group

from pytask.concurrency.greenlet import GreenletExecutor
from pytask.concurrency.interrupt import end_here
from pytask.exceptions import LeaseLost, RedisError
from pytask.records import Claimed, Outcome, to_json
from pytask.settings import Settings
from pytask.states import State
from pytask.store import Store
from pytask.task import TaskEnvironment
from pytask.worker.finisher import Finisher
from pytask.worker.outcomes import NULL
from pytask.worker.runs import (
    DONE,
    KEEP,
    LOST,
    NEW,
    RELOAD,
    RELOADING,
    REQUEUE,
    STOP,
    TIME_OUT,
    Run,
    RunTable,
)

logger = logging.getLogger(__name__)

_TIMED_OUT = to_json("timed out: it ran longer than its timeout allows, and was stopped")
_ABANDONED = to_json("stopped, but its code did not obey and was left behind")


class Stops(Protocol):
    """What the runner needs of the stopper."""

    def begin(self, run: Run, patience: float) -> None: ...

    def hasten(self, run: Run, patience: float) -> None: ...


class Admits(Protocol):
    """What the runner needs of the limiter."""

    def admit(self, run: Run) -> bool: ...


class Runner:
    """The life of every run of this worker.

    Args:
        table: Where the runs are entered.
        store: Reads fresh data for reloads.
        settings: Time-outs.
        environment: What the tasks are given.
        finishers: By partition.
        on_local_lost: Told which local task this worker lost, to start it again.
        on_started: Told what was claimed; None: nobody wants to know.
        limited: Names of the tasks that may be under a limit.
    """

    def __init__(
        self,
        *,
        table: RunTable,
        store: Store,
        settings: Settings,
        environment: TaskEnvironment,
        finishers: Sequence[Finisher],
        on_local_lost: Callable[[Run], None],
        on_started: Callable[[Sequence[Claimed]], None] | None = None,
        limited: Container[str] = (),
    ) -> None:
        self._table = table
        self._store = store
        self._settings = settings
        self._environment = environment
        self._finishers = finishers
        self._on_local_lost = on_local_lost
        self._on_started = on_started
        self._limited = limited
        #: What waits before a run can start.
        self._preparing = Group()
        self._limiter: Admits
        self._executor: GreenletExecutor
        self._stopper: Stops

    def wire(self, executor: GreenletExecutor, stopper: Stops, limiter: Admits) -> None:
        """Name the parts that report back to this one, and so had to be made after it."""
        self._executor = executor
        self._stopper = stopper
        self._limiter = limiter

    def start(self, claimed: Sequence[Claimed], partition: int, claimed_at: float) -> None:
        """Start tasks that were claimed; slots have been reserved for them.

        Args:
            claimed: What the claim returned.
            partition: Where they live.
            claimed_at: When the claim was sent, monotonic.
        """
        if self._on_started is not None:
            self._on_started(claimed)
        for task in claimed:
            run = Run(task, partition, claimed_at, self._environment)
            before = self._table.add(run)
            if before is not None:
                # This worker had lost the task, is still stopping it, and got it again.
                self._preparing.spawn(self._start_after, before, run)
            else:
                self._begin(run)

    def requeue_unstarted(
        self, claimed: Sequence[Claimed], partition: int, claimed_at: float
    ) -> None:
        """Give back tasks that were claimed too late to be started."""
        for task in claimed:
            run = Run(task, partition, claimed_at, self._environment)
            run.phase = DONE
            self._table.add(run)
            self._finishers[partition].add_return(run)

    def request(self, run: Run, intent: int, patience: float | None = None) -> None:
        """Ask a run to stop, for the reason ``intent``; the weightiest reason counts.

        Args:
            run: The run; one that has ended is left alone.
            intent: ``RELOAD``, ``REQUEUE``, ``TIME_OUT``, ``STOP`` or ``LOST``.
            patience: Seconds for each step of the stop; None: ``stop_timeout``.
        """
        if run.phase == DONE:
            return
        if patience is None:
            patience = self._settings.stop_timeout
        asked_before = run.intent != KEEP
        run.intent = max(run.intent, intent)
        if run.phase in (NEW, RELOADING):
            return  # looked at before its next line
        if not asked_before:
            self._stopper.begin(run, patience)
        elif patience < self._settings.stop_timeout:
            self._stopper.hasten(run, patience)

    def request_reload(self, run: Run, reload_id: str) -> None:
        """Reload a run, once for each request.

        Args:
            run: The run.
            reload_id: Names the request, which may arrive twice; empty when sent by hand.
        """
        if reload_id:
            if run.reload_id == reload_id:
                return
            run.reload_id = reload_id
        self.request(run, RELOAD)

    def request_all(self, intent: int, patience: float | None = None) -> int:
        """Ask every run to stop, see :meth:`request`; return how many had not ended."""
        runs = [run for run in self._table.snapshot() if run.phase != DONE]
        for run in runs:
            self.request(run, intent, patience)
        return len(runs)

    def give_up_all(self) -> None:
        """Give back every run at this instant, whatever its code does; the process ends next."""
        for run in self._table.snapshot():
            if run.phase != DONE:
                run.intent = max(run.intent, REQUEUE)
                run.stopping = True
                self._settle(run, State.STOPPED, NULL)

    def fall_silent(self) -> None:
        """Start nothing that is being prepared: this is the copy of a worker in a forked child."""
        for greenlet in list(self._preparing):
            end_here(greenlet)

    def conclude(self, run: Run, state: State, output: bytes, delay: float = 0.0) -> None:
        """Decide what becomes of a run whose code has ended.

        Args:
            run: The run.
            state: How it ended.
            output: What it left, JSON.
            delay: Seconds until it is tried again, with ``State.RETRY``.
        """
        run.instance = run.greenlet = run.stop_greenlet = None
        if run.phase == DONE:
            return  # left behind before
        if run.stopping and run.intent == RELOAD:
            run.phase = RELOADING
            self._preparing.spawn(self._reload, run)
        else:
            self._settle(run, state, output, delay)

    def abandon(self, run: Run) -> None:
        """Decide what becomes of a run whose code does not end."""
        if run.intent == RELOAD:
            # A second run beside the first would be worse than none.
            run.intent = STOP
        self._settle(run, State.STOPPED, _ABANDONED)

    def hold_back(self, run: Run) -> None:
        """Give back a run that a limit refused before it began."""
        if run.phase != DONE:
            run.phase = DONE
            self._finishers[run.partition].add_return(run)

    def returned(self, run: Run) -> None:
        """Note that Redis has taken back a run that was requeued."""
        if run.is_local:
            self._on_local_lost(run)

    def _begin(self, run: Run) -> None:
        # What somebody decided for this task alone, in its policy, may be a limit.
        if (run.policy or run.task in self._limited) and not self._limiter.admit(run):
            return
        self._executor.start(run)

    def _settle(self, run: Run, state: State, output: bytes, delay: float = 0.0) -> None:
        if run.phase == DONE:
            return
        run.phase = DONE
        if run.intent == LOST:
            self._table.remove((run,))
            self.returned(run)
            return
        finisher = self._finishers[run.partition]
        if run.stopping and run.intent == REQUEUE:
            finisher.add_return(run)
        elif run.stopping and run.intent == TIME_OUT:
            finisher.add(run, Outcome(run.task_id, run.token, State.REVOKED, _TIMED_OUT))
        elif state is State.RETRY:
            finisher.add_retry(run, Outcome(run.task_id, run.token, state, output, delay))
        else:
            finisher.add(run, Outcome(run.task_id, run.token, state, output, 0.0, run.error))

    def _start_after(self, before: Run, run: Run) -> None:
        self.request(before, LOST, self._settings.stop_timeout / 5)
        while before.phase != DONE:
            gevent.sleep(0.02)
        self._begin(run)

    def _reload(self, run: Run) -> None:
        claimed = Claimed(
            run.task_id, run.token, run.task, b"", run.attempt, run.policy, run.is_local
        )
        while run.intent == RELOAD:
            # A request that comes while we read may be about data we did not see: read again.
            run.intent = KEEP
            fresh = self._read(run, claimed)
            if run.intent == KEEP and fresh is not None:
                self._run_again(run, fresh)
                return
        run.stopping = True
        self._settle(run, State.STOPPED, NULL)

    def _read(self, run: Run, claimed: Claimed) -> Claimed | None:
        pause = 0.05
        while run.intent == KEEP:
            try:
                return self._store.patient(0).read_run(claimed)
            except LeaseLost:
                run.intent = LOST
            except RedisError as error:
                # The guard ends this if it takes too long.
                logger.debug("data of task %s not read: %s; trying again", run.task_id, error)
                gevent.sleep(pause)
                pause = min(1.0, pause * 2)
        return None

    def _run_again(self, run: Run, fresh: Claimed) -> None:
        run.task, run.data, run.policy = fresh.task, fresh.data, fresh.policy
        run.stopping = False
        run.step = 0
        run.phase = NEW
        self._begin(run)
        logger.debug("task %s (%s) was reloaded", run.task_id, run.task)
        try:
            self._store.patient(0).publish(run.task_id, "reloaded", NULL)
        except RedisError as error:
            logger.debug("event 'reloaded' of task %s was not sent: %s", run.task_id, error)
