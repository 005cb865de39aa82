"""Stops everything before others may take it over, when Redis cannot be reached.

A worker that cannot reach Redis keeps its tasks running while its leases are certainly valid: for
``redis_grace`` seconds from the sending of the last acknowledged beat, on the monotonic clock.
That is less than ``worker_timeout``, after which a Monitor may give its tasks to others, so the old
run has stopped before a new one starts. Outcomes that are ready meanwhile are held by the
finishers, and the stopped tasks are given back under their tokens once Redis answers.

A process that was paused (SIGSTOP, a hub that was blocked) cannot tell from its clock alone whether
Redis was away. The heartbeat thread gets a second to ask before anything is judged.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from gevent.event import Event

from pytask.settings import Settings
from pytask.worker.runner import Runner
from pytask.worker.runs import DONE, RELOAD, REQUEUE, STOP, RunTable
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

#: Seconds between two ticks;
TICK = 0.1
#: and while nothing runs but local tasks, which no other worker takes over.
REST_TICK = 0.25
#: Ticks further apart than this mean that the process or the hub was paused.
PAUSE_SECONDS = 1.0


class Pulse(Protocol):
    """What the guard reads and sets of the heartbeat."""

    acked_at: float
    leases_acked_at: list[float]
    is_failing: bool
    asking_since: float | None
    trouble: str
    hub_ticked_at: float

    def hurry(self) -> None: ...


class Permits(Protocol):
    """What the guard needs of the permits this worker holds."""

    def stop_stale(self, now: float) -> None: ...


def short_patience(settings: Settings) -> float:
    """Return the seconds per step of a stop that has to be over before ``worker_timeout``."""
    return max(0.1, 0.4 * (settings.worker_timeout - settings.redis_grace))


class Guard(Service):
    """Watches the time since the last acknowledged beats.

    Args:
        pulse: The heartbeat.
        table: The runs.
        runner: Stops them.
        gate: Closed while Redis is in trouble; claimers and local tasks wait at it.
        settings: Time-outs.
        permits: What runs hold beside their leases; they may live on another node.
    """

    name = "guard"

    def __init__(
        self,
        *,
        pulse: Pulse,
        table: RunTable,
        runner: Runner,
        gate: Event,
        settings: Settings,
        permits: Permits | None = None,
    ) -> None:
        super().__init__()
        self._pulse = pulse
        self._table = table
        self._runner = runner
        self._gate = gate
        self._settings = settings
        self._permits = permits
        self._patience = short_patience(settings)
        self._ticked_at = time.monotonic()
        self._judge_at = 0.0
        self._check_leases_at = 0.0
        self._trouble_since: float | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._ticked_at = time.monotonic()
        super().start()

    @property
    def in_trouble(self) -> bool:
        return self._trouble_since is not None

    def run_once(self) -> None:
        """Tick, and act if the leases cannot be trusted any more."""
        now = time.monotonic()
        if now - self._ticked_at > PAUSE_SECONDS:
            self._judge_at = now + PAUSE_SECONDS
            self._pulse.hurry()
        self._ticked_at = self._pulse.hub_ticked_at = now
        if self._permits is not None:
            # Also after a pause: nobody else knows that a permit has run out meanwhile.
            self._permits.stop_stale(now)
        if now >= self._judge_at:
            self._judge(now)
        self.pause(TICK if self._table.occupied or self.in_trouble else REST_TICK)

    def _judge(self, now: float) -> None:
        silent = now - self._pulse.acked_at
        if self._trouble_since is None:
            if silent > self._settings.redis_grace and self._is_unanswered(now):
                self._lose(now, silent)
        elif self._pulse.acked_at > self._trouble_since:
            self._regain(now)
        if now >= self._check_leases_at:
            self._check_leases_at = now + 1.0
            if self._trouble_since is not None:
                self._stop_runs(RELOAD)  # those that were started by a late answer
            else:
                self._check_leases(now)

    def _is_unanswered(self, now: float) -> bool:
        """Return whether Redis was asked and did not answer, or not yet, for long enough."""
        asking_since = self._pulse.asking_since
        if asking_since is not None and now - asking_since > self._settings.redis_grace / 2:
            return True
        return self._pulse.is_failing

    def _lose(self, now: float, silent: float) -> None:
        self._trouble_since = now
        self._gate.clear()
        logger.warning(
            "Redis has not answered for %.1f s (%s): %s running tasks are stopped, and go back to "
            "their queues when it answers again; no task is started until then",
            silent,
            self._pulse.trouble or "a request is still open",
            len(self._table),
        )
        self._stop_runs(STOP)

    def _regain(self, now: float) -> None:
        assert self._trouble_since is not None
        logger.info(
            "Redis answers again, %.1f s after the tasks were stopped; tasks are started again",
            now - self._trouble_since,
        )
        self._trouble_since = None
        self._gate.set()

    def _stop_runs(self, up_to: int) -> None:
        """Stop the runs of which nothing weightier than ``up_to`` is asked yet."""
        for run in self._table.snapshot():
            if run.phase != DONE and run.intent <= up_to:
                self._runner.request(run, REQUEUE, self._patience)

    def _check_leases(self, now: float) -> None:
        """Stop the runs of partitions whose leases are about to run out by ``task_timeout``."""
        limit = 0.8 * self._settings.task_timeout
        stale = {
            partition
            for partition, acked_at in enumerate(self._pulse.leases_acked_at)
            if now - acked_at > limit
        }
        if not stale:
            return
        count = 0
        for run in self._table.snapshot():
            if run.partition in stale and now - run.claimed_at > limit and run.intent < REQUEUE:
                self._runner.request(run, REQUEUE, self._patience)
                count += 1
        if count:
            logger.warning(
                "the leases of partitions %s could not be refreshed for %.0f s: %s tasks are "
                "stopped, and go back to their queues when Redis answers",
                sorted(stale),
                limit,
                count,
            )
