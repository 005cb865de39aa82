"""Keeps the leases of all runs, and this worker in the registry.

Identity: each run is refreshed under its token. Authority: Redis decides who owns a task; the
answer to a heartbeat names the runs that are lost. What this module knows itself, when the last
acknowledged beat was sent, by the monotonic clock, only ever makes the worker stop earlier.

It lives in a native thread with connections of its own, so that a task that computes for seconds
without giving way does not cost all the others their leases. Nothing of gevent crosses between
thread and hub: news go into a deque, and an ``async_`` watcher wakes a service of the hub. A hub
that has been stuck for longer than ``hub_stall_timeout`` is sick, though, and then the thread falls
silent on purpose: the tasks shall move to a worker that can run them.

A lost lease is not fought for: the run stops and writes nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from gevent import get_hub, monkey, sleep

from pytask.exceptions import RedisError, RedisUnavailable
from pytask.records import Beat
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store
from pytask.worker.pace import Pace
from pytask.worker.permits import PERMIT_LOST, HeldPermits
from pytask.worker.runner import Runner
from pytask.worker.runs import DONE, LOST, REQUEUE, STOP, Run, RunTable
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

#: A thread that wakes this much too late was paused together with its whole process.
PAUSE_SECONDS = 1.0

#: Beats with nothing new to say are brief; after so many seconds what the worker says of itself is
#: written anew all the same, should somebody have deleted it.
SAY_AGAIN = 60.0


class _Link(Protocol):
    def reset(self) -> None: ...

    def close(self) -> None: ...


class Heartbeat:
    """The thread.

    Args:
        store: Whose keys and settings to use; it gets a link of its own.
        open_link: Makes that link, which only the thread uses.
        worker: Our name in the registry.
        details: What the registry says of us; called in the thread.
        table: The runs.
        settings: Intervals.
        pace: The periods.
        deliver: Given the beats that need attention; called in the hub.
        permits: Renewed with every beat.

    Attributes:
        acked_at: When the last acknowledged registry beat was sent, monotonic.
        leases_acked_at: The same for the leases of each partition.
        is_failing: The last registry beat failed.
        asking_since: When the registry beat under way was sent, monotonic.
        trouble: Why the last one failed, for the log.
        has_beaten: One has been acknowledged since the start.
        hub_ticked_at: Set by the hub to show that it turns.
    """

    def __init__(
        self,
        *,
        store: Store,
        open_link: Callable[[], Any],
        worker: str,
        details: Callable[[], Mapping[str, str]],
        table: RunTable,
        settings: Settings,
        pace: Pace,
        deliver: Callable[[list[Beat]], None],
        permits: HeldPermits,
    ) -> None:
        self._store = store
        self._open_link = open_link
        self._worker = worker
        self._details = details
        self._table = table
        self._settings = settings
        self._pace = pace
        self._deliver = deliver
        self._permits = permits
        self._news: deque[list[Beat]] = deque()
        self._bell = monkey.get_original("_thread", "allocate_lock")()
        self._stopping = False
        self._ended = True
        self._stuck_told = False
        self._trust_hub_until = 0.0
        self._beat_due = 0.0
        self._said: dict[str, str] | None = None
        self._say_at = 0.0
        self._partitions = list(store.partitions)
        self._leases_due = [0.0] * len(self._partitions)
        self.acked_at = 0.0
        self.leases_acked_at = [0.0] * len(self._partitions)
        self.is_failing = False
        self.asking_since: float | None = None
        self.trouble = ""
        self.has_beaten = False
        self.hub_ticked_at = 0.0

    def start(self) -> None:
        """Begin to beat, in a thread."""
        if not self._ended:
            return
        now = time.monotonic()
        self.acked_at = self.hub_ticked_at = now
        interval = self._pace.refresh_interval
        count = len(self._partitions)
        # Spread over the interval, so that not all partitions are refreshed in one go.
        self._leases_due = [now + interval * (index + 1) / count for index in range(count)]
        self.leases_acked_at = [now] * count
        self._said = None
        self._stopping = self._ended = False
        self._bell.acquire(False)
        self._wake_hub = get_hub().loop.async_()
        self._wake_hub.start(self._on_news)
        monkey.get_original("_thread", "start_new_thread")(self._main, (self._open_link(),))

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping = True
        self._ring()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread and return whether it has come."""
        deadline = time.monotonic() + timeout
        while not self._ended and time.monotonic() < deadline:
            sleep(0.01)
        if self._ended and hasattr(self, "_wake_hub"):
            self._wake_hub.stop()
            self._wake_hub.close()
            del self._wake_hub
        return self._ended

    def hurry(self) -> None:
        """Beat and refresh all leases now; safe to call from anywhere."""
        self._beat_due = 0.0
        self._leases_due = [0.0] * len(self._partitions)
        self._permits.hurry()
        self._ring()

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it rings already
            self._bell.release()

    def _on_news(self) -> None:
        while self._news:
            self._deliver(self._news.popleft())

    # From here on: in the thread.

    def _main(self, link: _Link) -> None:
        # Debuggers and coverage hook themselves into threading, which this thread bypasses.
        sys.settrace(threading.gettrace())
        try:
            while not self._stopping:
                try:
                    self._beat_on(link)
                except Exception:
                    logger.exception("heartbeat failed; it goes on with a new connection")
                    link.reset()
                    self._bell.acquire(True, self._settings.beat_interval)
            link.close()
            get_hub().destroy(destroy_loop=True)
        finally:
            self._ended = True

    def _beat_on(self, link: _Link) -> None:
        store = self._store.using(link).patient(0)  # type: ignore[arg-type]
        while not self._stopping:
            now = time.monotonic()
            if self._hub_is_stuck(now):
                self._rest(self._settings.beat_interval)
                continue
            self._beat_if_due(store)
            self._tell(self._permits.renew_if_due(store))
            due_by = now - self._pace.refresh_waits()
            for partition in self._partitions:
                if self._leases_due[partition] <= due_by and not self._stopping:
                    self._refresh(store, partition)
            self._rest(self._until_next(time.monotonic()))

    def _beat_waits(self) -> float:
        return 0.0 if self.is_failing or self._said is None else self._pace.beat_waits()

    def _until_next(self, now: float) -> float:
        beat_due = self._beat_due + self._beat_waits()
        leases_due = min(self._leases_due) + self._pace.refresh_waits()
        due = max(0.0, min(beat_due, leases_due) - now)
        return min(due, self._permits.due_in(now))

    def _rest(self, seconds: float) -> None:
        began_at = time.monotonic()
        self._bell.acquire(True, seconds)
        now = time.monotonic()
        if now - began_at > seconds + PAUSE_SECONDS:
            # The hub was paused as well; it gets the time to show that it is not stuck.
            self._trust_hub_until = now + PAUSE_SECONDS
            self._leases_due = [0.0] * len(self._partitions)
            self._permits.hurry()

    def _hub_is_stuck(self, now: float) -> bool:
        silent = now - self.hub_ticked_at
        if silent <= self._settings.hub_stall_timeout or now < self._trust_hub_until:
            if self._stuck_told:
                logger.warning("the hub turns again; heartbeats go on")
            self._stuck_told = False
            return False
        if not self._stuck_told:
            self._stuck_told = True
            logger.error(
                "the hub has been stuck for %.0f s in code that does not give way; no more "
                "heartbeats until it turns, other workers take over the tasks",
                silent,
            )
        return True

    def _beat_if_due(self, store: Store) -> None:
        sent_at = time.monotonic()
        if sent_at < self._beat_due + self._beat_waits():
            return
        self.asking_since = sent_at
        try:
            if self._is_unheard(sent_at):
                store.read_workers(self._settings.worker_timeout)
                sent_at = time.monotonic()
            self._say(store, sent_at)
        except RedisError as error:
            self.is_failing = True
            self._note("registry beat", error)
            # Trouble has to be told from a hiccup before redis_grace is over.
            self._beat_due = time.monotonic() + self._settings.beat_interval / 4
        else:
            self.acked_at = sent_at
            self.is_failing = False
            self.trouble = ""
            self.has_beaten = True
            self._beat_due = sent_at + self._settings.beat_interval
        finally:
            self.asking_since = None

    def _say(self, store: Store, now: float) -> None:
        details = dict(self._details())
        is_new = details != self._said or now >= self._say_at
        if not is_new and store.beat_worker(self._worker, None):
            return
        store.beat_worker(self._worker, details)
        self._said, self._say_at = details, now + SAY_AGAIN

    def _is_unheard(self, now: float) -> bool:
        """Return whether Redis has been silent for so long that nothing may be refreshed unheard.

        Requests may arrive although no answers do. A worker that went on to report itself would
        seem alive, and keep what it was given and never heard of. So it asks first.
        """
        return now - self.acked_at > self._settings.redis_grace

    def _note(self, what: str, error: RedisError) -> None:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, RedisUnavailable) or text == self.trouble:
            # The guard tells the operator if it lasts.
            logger.debug("%s failed: %s", what, error)
        else:
            logger.error("%s failed: %s; it is tried again until this is put right", what, error)
        self.trouble = text

    def _tell(self, beats: list[Beat]) -> None:
        if beats:
            self._news.append(beats)
            self._wake_hub.send()

    def _refresh(self, store: Store, partition: int) -> None:
        if self._is_unheard(time.monotonic()):
            self._leases_due[partition] = time.monotonic() + self._settings.beat_interval
            return
        runs = [
            (run.task_id, run.token) for run in self._table.snapshot() if run.partition == partition
        ]
        sent_at = time.monotonic()
        batch = self._settings.heartbeat_batch
        for start in range(0, len(runs), batch):
            # With very many runs, or a node that does not answer, this takes seconds.
            self._beat_if_due(store)
            try:
                beats = store.heartbeat(partition, runs[start : start + batch])
            except RedisError as error:
                self._note(f"refresh of the leases of partition {partition}", error)
                self._leases_due[partition] = time.monotonic() + self._settings.beat_interval
                return
            self._tell(beats)
        self.leases_acked_at[partition] = sent_at
        self._leases_due[partition] = sent_at + self._pace.refresh_interval


class BeatReader(Service):
    """Carries out in the hub what the heartbeat brought.

    Args:
        table: The runs.
        runner: Stops and reloads them.
        lost_patience: Seconds a lost run has for each step of its stop.
    """

    name = "beat-reader"

    def __init__(self, table: RunTable, runner: Runner, lost_patience: float) -> None:
        super().__init__()
        self._table = table
        self._runner = runner
        self._lost_patience = lost_patience
        self._beats: deque[Beat] = deque()

    def deliver(self, beats: list[Beat]) -> None:
        """Take beats to work on; does not wait."""
        self._beats.extend(beats)
        self.wake()

    def run_once(self) -> None:
        """Work on the next beat, or wait for one."""
        if not self._beats:
            self.pause(None)
            return
        beat = self._beats.popleft()
        run = self._table.get(beat.task_id)
        if run is not None and run.token == beat.token and run.phase != DONE:
            self._apply(run, beat)

    def _apply(self, run: Run, beat: Beat) -> None:
        if beat.code < Code.OK:
            if run.intent != LOST:
                logger.warning(
                    "task %s (%s) is not ours any more (%s); its run stops and writes nothing",
                    run.task_id,
                    run.task,
                    beat.code.name,
                )
            self._runner.request(run, LOST, self._lost_patience)
        elif beat.control == PERMIT_LOST:
            if run.limited is not None and run.limited.held and run.intent < REQUEUE:
                logger.warning(
                    "a permit of task %s (%s) is lost: the run stops, and goes back to its queue",
                    run.task_id,
                    run.task,
                )
                self._runner.request(run, REQUEUE, self._lost_patience)
        elif beat.control == "stop":
            self._runner.request(run, STOP)
        elif beat.control.startswith("reload:"):
            self._runner.request_reload(run, beat.control.removeprefix("reload:"))
