"""The permits this worker holds: kept by the heartbeat, given back when their runs are over.

Authority: a permit is held until an instant on the server's clock, ``worker_timeout`` after it was
last renewed. Renewal belongs to the heartbeat thread, so that a task that hogs the hub does not
cost the others their permits. What is known here, when the last acknowledged renewal was sent, by
the monotonic clock, only ever makes a run stop earlier: after ``redis_grace`` it is stopped, which
is over before the permit can be granted to anybody else. A pool may live on another master than the
tasks, so this is judged for each partition of pools, beside what the guard knows of the leases.

A permit that turns out to be lost is not taken again: its run stops, and its task goes back to the
queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from pytask.exceptions import RedisError
from pytask.limits import Limit
from pytask.records import Beat
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store
from pytask.store.permits import Permit
from pytask.worker.runs import REQUEUE, Run, copied

logger = logging.getLogger(__name__)

#: The ``control`` of a beat that says that a run has lost a permit.
PERMIT_LOST = "permit-lost"


class Admission:
    """What one run needs before it may start, and what it has of that.

    Attributes:
        limits: All limits it is under.
        held: The permits it has, with the partition of each.
        refused_by: The limit that held it back.
        delay: Seconds it is to wait then, if nobody calls it before.
        sent_at: When the oldest of its permits was asked for, monotonic.
        revokes: It is to end when it is refused, instead of waiting.
    """

    __slots__ = ("delay", "held", "limits", "refused_by", "revokes", "sent_at")

    def __init__(self, limits: Sequence[Limit], revokes: bool) -> None:
        self.limits = limits
        self.revokes = revokes
        self.held: list[tuple[int, Permit]] = []
        self.refused_by: Limit | None = None
        self.delay = 0.0
        self.sent_at = 0.0


class HeldPermits:
    """The runs that hold permits; the hub changes it, the heartbeat thread renews them.

    Args:
        settings: Intervals.
        partitions: How many there are.
        stop: Stops a run whose permit cannot be trusted any more: ``stop(run, REQUEUE, patience)``.
        patience: Seconds for each step of that stop.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: int,
        stop: Callable[[Run, int, float], None],
        patience: float,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._patience = patience
        self._runs: dict[str, Run] = {}
        self._acked_at = [0.0] * partitions
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Run) -> None:
        """Keep the permits of a run from now on."""
        self._runs[run.token] = run

    def remove(self, run: Run) -> None:
        """Keep them no longer."""
        self._runs.pop(run.token, None)

    def snapshot(self) -> list[Run]:
        """Return the runs as they are now; safe to call from another thread."""
        return copied(self._runs)

    def stop_stale(self, now: float) -> None:
        """Stop the runs whose permits may run out before they can be renewed.

        Args:
            now: Monotonic.
        """
        if not self._runs:
            return
        limit = now - self._settings.redis_grace
        stale = {number for number, acked in enumerate(self._acked_at) if acked < limit}
        if not stale:
            return
        for run in self.snapshot():
            admission = run.limited
            if (
                admission is not None
                and admission.sent_at < limit
                and run.intent < REQUEUE
                and any(partition in stale for partition, _ in admission.held)
            ):
                logger.warning(
                    "the permits of task %s (%s) could not be renewed for %.1f s: it is stopped, "
                    "and goes back to its queue",
                    run.task_id,
                    run.task,
                    self._settings.redis_grace,
                )
                self._stop(run, REQUEUE, self._patience)

    # From here on: in the heartbeat thread.

    def due_in(self, now: float) -> float:
        """Return the seconds until the next renewal."""
        return max(0.0, self._due - now) if self._runs else self._settings.beat_interval

    def hurry(self) -> None:
        """Renew at the next opportunity."""
        self._due = 0.0

    def renew_if_due(self, store: Store) -> list[Beat]:
        """Renew all permits if it is time; return a beat for each run that lost one."""
        now = time.monotonic()
        if not self._runs or now < self._due:
            return []
        self._due = now + self._settings.beat_interval
        by_partition: dict[int, list[Permit]] = {}
        runs = self.snapshot()
        for run in runs:
            admission = run.limited
            for partition, permit in admission.held if admission is not None else ():
                by_partition.setdefault(partition, []).append(permit)
        lost: set[str] = set()
        for partition, permits in by_partition.items():
            sent_at = time.monotonic()
            try:
                gone = store.renew_permits(partition, permits, self._settings.worker_timeout)
            except RedisError as error:
                # stop_stale ends the runs if it lasts.
                logger.debug("permits of partition %s not renewed: %s", partition, error)
                continue
            self._acked_at[partition] = sent_at
            lost |= {permit.token for permit in gone}
        return [
            Beat(run.task_id, run.token, Code.OK, PERMIT_LOST) for run in runs if run.token in lost
        ]
