"""Builds a worker from its parts, starts them in order, and ends them in order.

Start, and why in this order:

1. partitions: a worker with another number of them would look in the wrong places,
2. heartbeat, guard, stopper: nothing may run without a lease that is kept and watched,
3. finishers and control: what runs must be able to end and to be stopped,
4. local tasks,
5. promoters, claimers, waiters: only now may anything be taken on.

End:

1. promoters, claimers, waiters: nothing new; what was popped but not claimed goes back,
2. running tasks get ``drain_timeout`` seconds to end, then they are stopped and requeued,
3. finishers, once they have told Redis everything,
4. control, guard, stopper,
5. heartbeat: until here the leases of what is not yet reported must not run out,
6. the registry entry is marked as gone, so that a Monitor looks after whatever slipped in.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent
from gevent.event import Event

from pytask.concurrency.greenlet import GreenletExecutor
from pytask.exceptions import RedisError, RedisUnavailable
from pytask.settings import Settings
from pytask.store import Store
from pytask.task import TaskEnvironment
from pytask.worker.claimer import Claimer, Waiter
from pytask.worker.control import Control
from pytask.worker.finisher import Finisher, total_held
from pytask.worker.guard import Guard, short_patience
from pytask.worker.heartbeat import BeatReader, Heartbeat
from pytask.worker.local import LocalTasks
from pytask.worker.promoter import Promoter
from pytask.worker.registry import TaskRegistry
from pytask.worker.runner import Runner
from pytask.worker.runs import DONE, REQUEUE, RunTable, Slots
from pytask.worker.servers import warn_of_unsafe_servers
from pytask.worker.service import Service
from pytask.worker.signals import restore_default_signals
from pytask.worker.stopper import Stopper

logger = logging.getLogger(__name__)

_living: weakref.WeakSet[Supervisor] = weakref.WeakSet()

#: How often the end looks whether it may go on, in seconds.
_LOOK = 0.02


class Supervisor:
    """One worker, from its start to its end.

    Args:
        connector: Opens connections of our own.
        store: Where the tasks are.
        settings: All tunables.
        registry: The task classes.
        exception_handlers: Told of unexpected exceptions of tasks.
        environment: What tasks are given.
        worker: Our name in Redis.
        version: Shown in the registry.
    """

    def __init__(
        self,
        *,
        connector: Any,
        store: Store,
        settings: Settings,
        registry: TaskRegistry,
        exception_handlers: Sequence[Callable[[BaseException], Any]],
        environment: TaskEnvironment,
        worker: str,
        version: str,
    ) -> None:
        self.worker = worker
        self._store = store
        self._settings = settings
        self._connector = connector
        self._version = version
        self._started_at = time.time()
        self._asked_to_stop = Event()
        self._in_a_hurry = Event()
        self._gate = Event()
        self._gate.set()
        self.table = RunTable(Slots(settings.concurrency))
        self.local_tasks = LocalTasks(store, worker, self._gate)
        self._build_running(registry, exception_handlers, environment)
        self._build_claiming()
        _living.add(self)

    def _build_running(
        self,
        registry: TaskRegistry,
        exception_handlers: Sequence[Callable[[BaseException], Any]],
        environment: TaskEnvironment,
    ) -> None:
        settings, store, table = self._settings, self._store, self.table
        self.finishers = [
            Finisher(store, partition, table, settings, lambda run: self.runner.returned(run))
            for partition in store.partitions
        ]
        self.runner = Runner(
            table=table,
            store=store,
            settings=settings,
            environment=environment,
            finishers=self.finishers,
            on_local_lost=self.local_tasks.lost,
        )
        executor = GreenletExecutor(
            registry,
            exception_handlers,
            settings.max_output_bytes,
            self.runner.conclude,
            lambda run, failed: self.stopper.stop_ended(run, failed),
        )
        self.stopper = Stopper(executor, self.runner.abandon)
        self.runner.wire(executor, self.stopper)
        self.local_tasks.wire(self.runner)
        self.beat_reader = BeatReader(table, self.runner, short_patience(settings))
        self.heartbeat = Heartbeat(
            store=store,
            # Trouble must be noticed well within redis_grace.
            open_link=lambda: self._connector.link(
                timeout=settings.beat_interval, connect_timeout=settings.beat_interval
            ),
            worker=self.worker,
            details=self._details,
            table=table,
            settings=settings,
            deliver=self.beat_reader.deliver,
        )
        self.guard = Guard(
            pulse=self.heartbeat,
            table=table,
            runner=self.runner,
            gate=self._gate,
            settings=settings,
        )
        self.control = Control(
            link=self._connector.link(),
            keys=store.keys,
            table=table,
            runner=self.runner,
            pulse=self.heartbeat,
        )

    def _build_claiming(self) -> None:
        settings, store = self._settings, self._store
        self.promoters = [Promoter(store, partition) for partition in store.partitions]
        self.claimers = [
            Claimer(
                store,
                partition,
                worker=self.worker,
                settings=settings,
                slots=self.table.slots,
                runner=self.runner,
                gate=self._gate,
            )
            for partition in store.partitions
        ]
        self.waiters = [
            Waiter(
                store,
                queue,
                partition,
                worker=self.worker,
                claimer=claimer,
                block_seconds=settings.block_seconds,
            )
            for partition, claimer in zip(store.partitions, self.claimers, strict=True)
            for queue in settings.queues
        ]

    def run(self) -> bool:
        """Work until :meth:`stop` is called.

        Returns:
            Whether everything this worker knew has reached Redis.

        Raises:
            PartitionMismatch: The data in Redis were written with another number of partitions.
            RedisRejected: The credentials or permissions do not suffice.
        """
        if not self._wait_for_redis():
            return True
        warn_of_unsafe_servers(self._connector.link())
        self._start()
        if self._asked_to_stop.is_set():
            logger.info("worker %s was stopped before it took on anything", self.worker)
        else:
            logger.info(
                "worker %s takes tasks from %s at %s, up to %s at a time",
                self.worker,
                ", ".join(self._settings.queues),
                self._connector.description,
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
                len(self.table),
                self._settings.drain_timeout,
            )
            self._asked_to_stop.set()
        elif not self._in_a_hurry.is_set():
            logger.warning("%s again: running tasks are requeued at once", reason)
            self._in_a_hurry.set()

    def fall_silent(self) -> None:
        """Do nothing any more: this is the copy of a worker in a forked child.

        The child inherits every greenlet. If it lets the hub run, they must neither read from the
        sockets of the parent, nor beat, claim or finish in its name, nor run its tasks once more.
        """
        for service in self._services():
            service.kill()
        self.local_tasks.stop()
        forking = gevent.getcurrent()
        for run in self.table.snapshot():
            run.phase = DONE
            if run.greenlet is not None and run.greenlet is not forking:
                gevent.kill(run.greenlet)

    # Start

    def _wait_for_redis(self) -> bool:
        """Settle the number of partitions; return False if asked to stop before that."""
        pause = 0.1
        while not self._asked_to_stop.is_set():
            attempt = gevent.spawn(self._store.patient(0).agree_partitions)
            waited_for: list[Any] = [attempt, self._asked_to_stop]
            gevent.wait(waited_for, count=1)
            if not attempt.ready():
                attempt.kill(block=False)
                return False
            try:
                attempt.get()
            except RedisUnavailable as error:
                logger.warning(
                    "Redis at %s cannot be reached (%s); trying again in %.1f s",
                    self._connector.description,
                    error,
                    pause,
                )
                self._asked_to_stop.wait(pause * random.uniform(0.5, 1.0))
                pause = min(5.0, pause * 2)
            else:
                return True
        return False

    def _start(self) -> None:
        self.beat_reader.start()
        self.stopper.start()
        self.heartbeat.start()
        self.guard.start()
        # A worker that dies right after its first claim must be known, to be missed.
        while not self.heartbeat.has_beaten and not self._asked_to_stop.wait(_LOOK):
            pass
        for service in (*self.finishers, self.control):
            service.start()
        if self._asked_to_stop.is_set():
            return
        self.local_tasks.start()
        for service in (*self.promoters, *self.claimers, *self.waiters):
            service.start()

    def _details(self) -> Mapping[str, str]:
        return {
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "queues": ",".join(self._settings.queues),
            "running": str(len(self.table)),
            "concurrency": str(self._settings.concurrency),
            "started": f"{self._started_at:.3f}",
            "version": self._version,
        }

    # End

    def _end(self) -> bool:
        self._stop_claiming()
        self._wait_until(lambda: not self.table.occupied, self._settings.drain_timeout)
        stopped = self.runner.request_all(REQUEUE)
        if stopped:
            logger.info("%s running tasks are stopped and put back on their queues", stopped)
        # Two steps of stop_timeout, and the last one of a second; the stopper ends it all before.
        self._wait_until(self._is_quiet, 2 * self._settings.stop_timeout + 2)
        self.runner.give_up_all()
        delivered = self._deliver()
        for service in (*self.finishers, self.control, self.guard, self.stopper, self.beat_reader):
            service.stop()
        self.heartbeat.stop()
        self.heartbeat.join(2 * self._settings.beat_interval + 1)
        left = self._leave()
        for service in self._services():
            service.kill()
            service.join(1.0)
        return delivered and left

    def _stop_claiming(self) -> None:
        claiming: list[Service] = [*self.waiters, *self.claimers, *self.promoters]
        for service in claiming:
            service.stop()
        self.local_tasks.stop()
        deadline = time.monotonic() + self._settings.stop_timeout
        for service in claiming:
            if not service.join(max(0.0, deadline - time.monotonic())):
                service.kill()
        self._give_back(forget=False)

    def _give_back(self, *, forget: bool) -> bool:
        """Empty our claim lists; return whether Redis confirmed it for all partitions."""
        try:
            for claimer in self.claimers:
                claimer.settle()
                claimer.give_back(forget=forget)
        except RedisError as error:
            logger.debug("claim lists were not emptied: %s", error)
            return False
        return True

    def _is_quiet(self) -> bool:
        return len(self.table) == total_held(self.finishers)

    def _deliver(self) -> bool:
        """Wait until Redis has taken all outcomes; return whether it has."""
        self._wait_until(lambda: not len(self.table), self._settings.stop_timeout)
        count = len(self.table)
        if count:
            logger.error(
                "Redis did not take the end of %s tasks; their leases run out, and a Monitor of "
                "another worker starts them again",
                count,
            )
        return not count

    def _leave(self) -> bool:
        """Give back what slipped in and leave the registry; return whether Redis confirmed."""
        store = self._store.patient(0)
        try:
            empty = self._give_back(forget=True)
            store.leave_fleet(self.worker)
        except RedisError as error:
            logger.warning(
                "worker %s ends without having left the registry (%s); it counts as dead in "
                "%.0f s, and a Monitor looks after what it left",
                self.worker,
                error,
                self._settings.worker_timeout,
            )
            return False
        logger.info("worker %s has ended", self.worker)
        return empty

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, no longer than ``seconds`` and not when in a hurry."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            if self._in_a_hurry.wait(_LOOK):
                return

    def _services(self) -> list[Service]:
        return [
            *self.waiters,
            *self.claimers,
            *self.promoters,
            *self.finishers,
            self.control,
            self.guard,
            self.stopper,
            self.beat_reader,
        ]


def _after_fork() -> None:
    living = list(_living)
    _living.clear()
    for supervisor in living:
        supervisor.fall_silent()
    if living:
        restore_default_signals()


os.register_at_fork(after_in_child=_after_fork)
