"""Starts the parts of a worker in order, and ends them in order.

Start, and why in this order:

1. partitions: a worker with another number of them would look in the wrong places,
2. heartbeat, guard, stopper: nothing may run without a lease that is kept and watched,
3. finishers, limiter, releaser and control: what runs must be able to end and to be stopped,
4. plug-ins, which are told of all that follows, and local tasks,
5. scheduler, promoters, claimers, waiters: only now may anything be taken on.

End:

1. scheduler, promoters, claimers, waiters: nothing new; what was popped but not claimed goes back,
2. running tasks get ``drain_timeout`` seconds to end, then they are stopped and requeued,
3. finishers, once they have told Redis everything; limiter and releaser; then plug-ins, once they
   were told of it,
4. control, guard, stopper,
5. heartbeat: until here the leases of what is not yet reported must not run out,
6. the registry entry is marked as gone, so that a Monitor looks after whatever slipped in.
"""

from __future__ import annotations

import logging
import os
import random
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from pytask.concurrency.interrupt import end_here
from pytask.connection.retry import Patience, retrying
from pytask.exceptions import RedisError, RedisUnavailable
from pytask.scripts import load_all
from pytask.worker.finisher import total_held
from pytask.worker.parts import Parts
from pytask.worker.runs import DONE, REQUEUE
from pytask.worker.servers import warn_of_unsafe_servers
from pytask.worker.service import Service
from pytask.worker.signals import (
    hold_back_signals,
    let_signals_in,
    print_stacks,
    restore_default_signals,
)

logger = logging.getLogger(__name__)

#: How often the end looks whether it may go on, in seconds.
_LOOK = 0.02
#: Seconds between two log lines while the start waits for Redis.
_REMIND = 5.0
#: Seconds that a hurried end still gives Redis to take what is ready.
_LAST_WORDS = 1.0

_living: weakref.WeakSet[Supervisor] = weakref.WeakSet()


class Supervisor:
    """The life of one worker.

    Args:
        parts: What it consists of.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._settings = parts.settings
        self._asked_to_stop = Event()
        self._in_a_hurry = Event()
        #: It ends because it has run ``max_tasks`` tasks.
        self.recycles = False
        parts.table.call_after(self._settings.max_tasks, self._recycle)
        _living.add(self)

    def run(self) -> bool:
        """Work until :meth:`stop` is called.

        Returns:
            Whether everything this worker knew has reached Redis.

        Raises:
            PartitionMismatch: The data in Redis were written with another number of partitions.
            RedisRejected: The credentials or permissions do not suffice.
        """
        load_all()
        if not self._wait_for_redis():
            return True
        # Beside the start, because a signal must be able to interrupt that.
        if not self.parts.connector.is_temporary:
            gevent.spawn(warn_of_unsafe_servers, self.parts.connector.link())
        self._start()
        if not self._asked_to_stop.is_set():
            logger.info(
                "worker %s takes tasks from %s at %s, up to %s at a time",
                self.parts.worker,
                self._settings.queues,
                self.parts.connector.description,
                self._settings.concurrency,
            )
        self._asked_to_stop.wait()
        try:
            return self._end()
        finally:
            _living.discard(self)

    def stop(self, reason: str = "stop()") -> None:
        """Ask for the end; the second time, for the end at once. Does not wait."""
        if not self._asked_to_stop.is_set():
            logger.info(
                "%s: no more tasks are taken; %s running ones have %.1f s to end before they are "
                "stopped and requeued",
                reason,
                len(self.parts.table),
                self._settings.drain_timeout,
            )
            self._asked_to_stop.set()
        elif not self._in_a_hurry.is_set():
            logger.warning("%s again: running tasks are requeued at once", reason)
            self._in_a_hurry.set()

    def print_stacks(self) -> None:
        """Write the stack of every greenlet, thread and coroutine to stderr."""
        # Hundreds that wait for a run would bury the others.
        self.parts.executor.drop_spares()
        print_stacks(self.parts.stacks())

    def _recycle(self) -> None:
        if not self._asked_to_stop.is_set():
            self.recycles = True
            self.stop(f"max_tasks={self._settings.max_tasks} reached")

    def fall_silent(self) -> None:
        """Do nothing any more: this is the copy of a worker in a forked child.

        The child inherits every greenlet. If it lets the hub run, they must neither read from the
        sockets of the parent, nor beat, claim or finish in its name, nor run its tasks once more.
        """
        # What is ended below may let the hub run, which is to leave the parent's events alone.
        gevent.reinit()
        self.parts.executor.keep_no_greenlets()
        for part in (self.parts.local_tasks, self.parts.runner, self.parts.modes):
            part.fall_silent()
        runs = self.parts.table.snapshot()
        for run in runs:
            run.phase = DONE
        for service in self.parts.services():
            service.end_here()
        for run in runs:
            for greenlet in (run.stop_greenlet, run.greenlet):
                if greenlet is not None:
                    end_here(greenlet)

    # Start

    def _wait_for_redis(self) -> bool:
        """Settle the number of partitions; return False if asked to stop before that."""
        pause = 0.1
        store = self.parts.store.patient(0)
        while not self._asked_to_stop.is_set():
            attempt = gevent.spawn(_result_of, store.agree_partitions)
            waited_for: list[Any] = [attempt, self._asked_to_stop]
            gevent.wait(waited_for, count=1)
            if not attempt.ready():
                attempt.kill(block=False)
                return False
            error = attempt.get()
            if error is None:
                return True
            if not isinstance(error, RedisUnavailable):
                raise error
            logger.warning(
                "Redis at %s cannot be reached (%s); trying again in %.1f s",
                self.parts.connector.description,
                error,
                pause,
            )
            self._asked_to_stop.wait(pause * random.uniform(0.5, 1.0))
            pause = min(_REMIND, pause * 2)
        return False

    def _start(self) -> None:
        parts = self.parts
        parts.beat_reader.start()
        parts.stopper.start()
        parts.heartbeat.start()
        parts.guard.start()
        for service in (*parts.finishers, parts.limiter, parts.releaser):
            service.start()
        parts.control.start()
        if not self._wait_for_first_beat():
            return
        for plugin in parts.plugins.services:
            plugin.start()
        parts.local_tasks.start()
        claiming: list[Service] = [
            *parts.schedulers,
            *parts.promoters,
            *parts.claimers,
            *parts.waiters,
        ]
        for one in claiming:
            one.start()

    def _wait_for_first_beat(self) -> bool:
        """Wait until the registry knows us: who dies after a claim must be known to be missed."""
        remind_at = time.monotonic() + _REMIND
        while not self.parts.heartbeat.has_beaten:
            if self._asked_to_stop.wait(_LOOK):
                return False
            if time.monotonic() > remind_at:
                remind_at += _REMIND
                logger.warning(
                    "worker %s cannot enter itself in the registry (%s); it takes no tasks until "
                    "it can",
                    self.parts.worker,
                    self.parts.heartbeat.trouble or "no answer",
                )
        return True

    # End

    def _end(self) -> bool:
        parts = self.parts
        self._stop_claiming()
        self._wait_until(lambda: not parts.table.occupied, self._settings.drain_timeout)
        unfinished = parts.table.occupied
        if parts.runner.request_all(REQUEUE) and unfinished:
            logger.info("%s running tasks are stopped and put back on their queues", unfinished)
        # Two steps of stop_timeout and a last one of a second; the stopper ends it before that.
        self._wait_until(self._is_quiet, 2 * self._settings.stop_timeout + 2)
        parts.runner.give_up_all()
        # What would not end in a child process is killed before its task may start elsewhere.
        parts.modes.close()
        delivered = self._deliver()
        # What is not given back by then runs out by itself.
        self._wait_until(lambda: parts.releaser.is_clear, self._last_patience())
        ending: list[Service] = [*parts.finishers, parts.limiter, parts.releaser]
        for service in ending:
            service.stop()
        parts.plugins.close(self._last_patience())
        for watching in (parts.control, parts.guard, parts.stopper):
            watching.stop()
        parts.heartbeat.stop()
        parts.heartbeat.join(2 * self._settings.beat_interval + 1)
        left = self._leave()
        for service in parts.services():
            service.kill()
            service.join(1.0)
        return delivered and left

    def _stop_claiming(self) -> None:
        parts = self.parts
        claiming: list[Service] = [
            *parts.waiters,
            *parts.claimers,
            *parts.promoters,
            *parts.schedulers,
        ]
        for service in claiming:
            service.stop()
        parts.local_tasks.stop()
        deadline = time.monotonic() + self._patience()
        for service in claiming:
            if not service.join(max(0.0, deadline - time.monotonic())):
                service.kill()
        self._give_back(forget=False)

    def _patience(self) -> float:
        """Return how long a call may take that a Monitor makes up for if it fails."""
        return _LAST_WORDS if self.parts.heartbeat.is_failing else self._settings.stop_timeout

    def _give_back(self, *, forget: bool) -> bool:
        """Empty our claim lists; return whether Redis confirmed it for all partitions."""
        try:
            with gevent.Timeout(self._patience()):
                for waiter in self.parts.waiters:
                    self._insist(waiter.settle, forget)
                for claimer in self.parts.claimers:
                    # The second time is the last chance, and a single lost reply shall not end it.
                    self._insist(claimer.settle, forget)
                    self._insist(partial(claimer.give_back, forget=forget), forget)
        except (RedisError, gevent.Timeout) as error:
            logger.debug("claim lists were not emptied: %s", error)
            return False
        return True

    def _insist(self, call: Callable[[], object], insistent: bool = True) -> None:
        """Repeat a call until Redis answers, within our patience, and not when in a hurry."""
        patience = Patience(self._patience() if insistent else 0)
        retrying(call, patience, self._in_a_hurry.is_set)

    def _is_quiet(self) -> bool:
        return len(self.parts.table) == total_held(self.parts.finishers)

    def _deliver(self) -> bool:
        """Wait until Redis has taken all outcomes; return whether it has."""
        deadline = time.monotonic() + self._last_patience()
        while len(self.parts.table) and time.monotonic() < deadline:
            gevent.sleep(_LOOK)
        count = len(self.parts.table)
        if count:
            logger.error(
                "Redis did not take the end of %s tasks; their leases run out, and a Monitor of "
                "another worker starts them again",
                count,
            )
        return not count

    def _last_patience(self) -> float:
        return _LAST_WORDS if self._in_a_hurry.is_set() else self._settings.stop_timeout

    def _leave(self) -> bool:
        """Give back what slipped in and leave the registry; return whether Redis confirmed."""
        if not self.parts.heartbeat.has_beaten:
            return True
        empty = self._give_back(forget=True)
        try:
            with gevent.Timeout(self._patience()):
                store = self.parts.store.patient(0)
                self._insist(partial(store.leave_fleet, self.parts.worker))
        except (RedisError, gevent.Timeout) as error:
            logger.warning(
                "worker %s ends without having left the registry (%s); it counts as dead in "
                "%.0f s, and a Monitor looks after what it left",
                self.parts.worker,
                error,
                self._settings.worker_timeout,
            )
            return False
        logger.info("worker %s has ended", self.parts.worker)
        return empty

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, no longer than ``seconds`` and not when in a hurry."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            if self._in_a_hurry.wait(_LOOK):
                return


def _result_of(function: Callable[[], object]) -> Exception | None:
    """Return what ``function`` raised; a greenlet that fails would print it as well."""
    try:
        function()
    except Exception as error:
        return error
    return None


def _before_fork() -> None:
    if _living:
        hold_back_signals()


def _after_fork() -> None:
    living = list(_living)
    _living.clear()
    for supervisor in living:
        supervisor.fall_silent()
    if living:
        restore_default_signals()
    let_signals_in()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork, after_in_parent=let_signals_in)
