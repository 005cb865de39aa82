"""Starts the tasks of schedules. Every worker may: each due time belongs to whoever is first."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pytask.queues import LOCAL
from pytask.schedules import Schedule
from pytask.serializers import encode_data
from pytask.settings import Settings
from pytask.store import Store
from pytask.store.timetable import Tick
from pytask.submission import PolicyOf
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

#: Seconds after which a schedule is looked at in any case: Redis may have lost it, or somebody
#: else, with another definition, may have it come sooner.
LONGEST = 30.0


class Scheduler(Service):
    """Keeps the schedules of an app.

    Args:
        store: Where the due times are.
        schedules: The schedules.
        policy_of: Knows queue and expiry of a task.
        settings: The form of its data, their bound, and the queue of this machine.
    """

    name = "scheduler"

    def __init__(
        self,
        store: Store,
        schedules: Sequence[Schedule],
        policy_of: PolicyOf,
        settings: Settings,
    ) -> None:
        super().__init__()
        self._store = store.patient(0)
        self._schedules = schedules
        self._policy_of = policy_of
        self._settings = settings
        #: For each schedule the due time known and the monotonic instant to look again.
        self._known: dict[str, tuple[float | None, float]] = {}

    def run_once(self) -> None:
        """Deal with every schedule whose time has come, then wait for the next one."""
        for schedule in self._schedules:
            due, look_at = self._known.get(schedule.name, (None, 0.0))
            if look_at <= time.monotonic():
                self._look(schedule, due)
        if not self._known:
            self.pause(None)
            return
        nearest = min(look_at for _, look_at in self._known.values())
        self.pause(max(0.0, nearest - time.monotonic()))

    def _look(self, schedule: Schedule, due: float | None) -> None:
        if due is None:
            tick = self._store.know_schedule(schedule.name, schedule.timing.next_after)
        else:
            tick = self._start_due(schedule, due)
        wait = LONGEST if tick.due is None else tick.due - tick.now
        if wait > LONGEST:
            # Its due time may change meanwhile: make it known anew then.
            self._known[schedule.name] = (None, time.monotonic() + LONGEST * random.uniform(0.8, 1))
        else:
            self._known[schedule.name] = (tick.due, time.monotonic() + max(0.0, wait))

    def _start_due(self, schedule: Schedule, due: float) -> Tick:
        now = self._store.server_time()
        if now < due:
            return Tick(False, due, now)
        started, after = schedule.split(due, now)
        if started is not None and not self._is_wanted(schedule.is_due, schedule.name, started):
            started = None
        policy = self._policy_of(schedule.task)
        tick = self._store.tick_schedule(
            schedule.name,
            expected=due,
            following=after,
            started=started,
            task=schedule.task,
            data=encode_data(schedule.task, schedule.data, self._settings),
            queue=self._settings.node_queue if policy.queue == LOCAL else policy.queue,
            expires=policy.expires,
        )
        if tick.moved and started is not None:
            logger.info("schedule %s: task %s was started", schedule.name, schedule.task)
        return tick

    def _is_wanted(self, is_due: Callable[[datetime], bool] | None, name: str, due: float) -> bool:
        if is_due is None:
            return True
        try:
            return bool(is_due(datetime.fromtimestamp(due, UTC)))
        except Exception:
            logger.exception("schedule %s: is_due() failed; this time is left out", name)
            return False
