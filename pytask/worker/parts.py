"""The parts of one worker, made and connected; the supervisor starts and ends them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gevent.event import Event

from pytask.concurrency.greenlet import GreenletExecutor
from pytask.concurrency.other_modes import OtherModes
from pytask.concurrency.workplaces import HubPlace
from pytask.settings import Settings
from pytask.store import Store
from pytask.task import TaskEnvironment
from pytask.worker.claimer import Claimer, Waiter
from pytask.worker.control import Control
from pytask.worker.finisher import Finisher
from pytask.worker.guard import Guard, short_patience
from pytask.worker.heartbeat import BeatReader, Heartbeat
from pytask.worker.limiter import Limiter
from pytask.worker.local import LocalTasks
from pytask.worker.pace import Pace
from pytask.worker.permits import HeldPermits
from pytask.worker.plugins import PluginServices
from pytask.worker.promoter import Promoter
from pytask.worker.registry import TaskRegistry
from pytask.worker.releaser import Releaser
from pytask.worker.runner import Runner
from pytask.worker.runs import STARTED, TIME_OUT, Run, RunTable, Slots
from pytask.worker.scheduler import Scheduler
from pytask.worker.service import Service
from pytask.worker.stopper import Stopper


class Parts:
    """Everything a worker consists of.

    Args:
        connector: Opens connections of our own.
        store: Where the tasks are.
        settings: All tunables.
        registry: The task classes.
        exception_handlers: Told of unexpected exceptions of tasks.
        environment: What tasks are given.
        plugins: The services of the plug-ins.
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
        plugins: PluginServices,
        worker: str,
        version: str,
    ) -> None:
        self.connector = connector
        self.store = store
        self.settings = settings
        self.worker = worker
        self._version = version
        self._started_at = time.time()
        #: Closed while Redis is in trouble: nothing is started then.
        self.gate = Event()
        self.gate.set()
        self.plugins = plugins
        listener = plugins.listener
        self.table = RunTable(Slots(settings.concurrency))
        self.local_tasks = LocalTasks(store, worker, self.gate)
        self.finishers = self._make_finishers()
        self.modes = OtherModes(settings, HubPlace(environment))
        self.runner = Runner(
            table=self.table,
            store=store,
            settings=settings,
            environment=self.modes.place,
            finishers=self.finishers,
            on_local_lost=self.local_tasks.lost,
            limited=registry.limited,
            on_started=listener.started if listener is not None else None,
        )
        self.executor = GreenletExecutor(
            registry,
            exception_handlers,
            settings,
            self.runner.conclude,
            lambda run: self.runner.request(run, TIME_OUT),
            lambda run, failed: self.stopper.stop_ended(run, failed),
            self.modes,
        )
        self.stopper = Stopper(self.executor, self.runner.abandon)
        self._make_limiting(registry, self.executor.start)
        self.runner.wire(self.executor, self.stopper, self.limiter)
        self.local_tasks.wire(self.runner)
        scheduler = Scheduler(store, registry.schedules, registry.policy_of, settings)
        self.schedulers = [scheduler] if settings.schedule_periodic and registry.schedules else []
        self._make_watching()
        self._make_claiming()

    def services(self) -> list[Service]:
        """Return all services of the hub."""
        return [
            *self.waiters,
            *self.claimers,
            *self.promoters,
            *self.finishers,
            *self.schedulers,
            self.limiter,
            self.releaser,
            *self.plugins.services,
            self.control,
            self.guard,
            self.stopper,
            self.beat_reader,
        ]

    def stacks(self) -> Iterator[str]:
        """Yield where the code of each run is that has no greenlet."""
        for run in self.table.snapshot():
            if run.greenlet is None and run.phase == STARTED:
                stack = self.executor.stack_of(run)
                yield f"task {run.task_id} ({run.task}), which runs in no greenlet:\n{stack}\n"

    def _make_finishers(self) -> list[Finisher]:
        return [
            Finisher(
                self.store,
                partition,
                self.table,
                self.settings,
                lambda run: self.runner.returned(run),
                lambda partition: self.promoters[partition].wake(),
                self.plugins.listener,
            )
            for partition in self.store.partitions
        ]

    def _make_limiting(self, registry: TaskRegistry, start: Callable[[Run], None]) -> None:
        store, settings = self.store, self.settings
        self.permits = HeldPermits(
            settings, len(store.partitions), self.runner.request, short_patience(settings)
        )
        self.releaser = Releaser(store, self.permits, self.table)
        self.limiter = Limiter(
            store,
            registry,
            settings,
            self.permits,
            self.releaser,
            start,
            self.runner.conclude,
            self.runner.hold_back,
        )

    def _make_watching(self) -> None:
        settings = self.settings
        pace = Pace(settings, self.table)
        self.beat_reader = BeatReader(self.table, self.runner, short_patience(settings))
        self.heartbeat = Heartbeat(
            store=self.store,
            open_link=lambda: self.connector.link(
                timeout=pace.time_out, connect_timeout=pace.time_out
            ),
            worker=self.worker,
            details=self._details,
            table=self.table,
            settings=settings,
            pace=pace,
            deliver=self.beat_reader.deliver,
            permits=self.permits,
        )
        self.guard = Guard(
            pulse=self.heartbeat,
            table=self.table,
            runner=self.runner,
            gate=self.gate,
            settings=settings,
            permits=self.permits,
        )
        self.control = Control(
            link=self.connector.link(),
            keys=self.store.keys,
            table=self.table,
            runner=self.runner,
            pulse=self.heartbeat,
            wake_channels=[
                self.store.keys.wake_channel,
                self.store.keys.node_channel(settings.node_queue),
            ],
            on_wake=lambda partition: _wake(self.claimers, partition),
            on_delayed=lambda partition: _wake(self.promoters, partition),
        )

    def _make_claiming(self) -> None:
        store, settings, worker = self.store, self.settings, self.worker
        self.promoters = [
            Promoter(store, partition, lambda: self.control.ready) for partition in store.partitions
        ]
        self.claimers = [
            Claimer(
                store,
                partition,
                worker=worker,
                settings=settings,
                slots=self.table.slots,
                runner=self.runner,
                gate=self.gate,
            )
            for partition in store.partitions
        ]
        self.waiters = [
            Waiter(
                store,
                queue,
                partition,
                worker=worker,
                claimer=claimer,
                block_seconds=settings.block_seconds,
            )
            for partition, claimer in zip(store.partitions, self.claimers, strict=True)
            for queue in settings.queues
        ]

    def _details(self) -> Mapping[str, str]:
        queues = dict.fromkeys((*self.settings.queues, self.settings.node_queue))
        return {
            **self.plugins.details(),
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "queues": ",".join(queues),
            "running": str(len(self.table)),
            "concurrency": str(self.settings.concurrency),
            "started": f"{self._started_at:.3f}",
            "version": self._version,
        }


def _wake(services: Sequence[Service], partition: int) -> None:
    """Wake the service of a partition, if there is one of that number."""
    if partition < len(services):
        services[partition].wake()
