"""Monitor: takes back what dead workers left, and mends what no transition covers.

Identity: any number of Monitors may run; nothing depends on there being one. Authority: each script
decides on the record and the server's clock, so two Monitors that reap the same task move it once.
Time: after a stall of Redis, or a pause of the Monitor itself, *every* lease looks old. A Monitor
therefore reaps only after it has itself seen Redis healthy for long enough that every living worker
had the chance to send a heartbeat.
Partitions: each is looked after by itself, so that one whose shard is gone, or of which somebody
replaced a key, does not keep what dead workers ran in all the others.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from pytask.exceptions import InvalidTask, RedisError
from pytask.keys import DEFAULT_QUEUE
from pytask.records import WorkerInfo, shown
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store
from pytask.task import Task

logger = logging.getLogger("pytask.monitor")

#: Seconds between two looks at the worker registry while somebody in it is dead, or a look failed.
LOOK_INTERVAL = 1.0
#: Seconds between two looks while nobody is; the next one comes sooner when a worker may be dead by
#: then.
CALM_INTERVAL = 2.5
#: An answer that comes this much later than the longest pause means that Redis, or we, stood still.
STALL = 1.0
#: Where time-outs leave less, answers are not asked to come more often than this, in seconds.
SHORTEST_GAP = 0.5
#: A clock that differs from ours by this much more than at the last look was set.
JUMP = 2.0
#: Full checks that pass without mending after one that went through everything and found nothing
#: to mend, unless a worker dies, a task is taken back, or a look fails.
SKIPPED = 5
#: Leases per call, and how many calls one partition gets in a round: bounds what one check costs.
REAP_BATCH = 200
#: Elements of lists that the search for orphans may make Redis read per check.
ORPHAN_BUDGET = 200_000


class Witness:
    """How long Redis has been healthy as far as this process saw, on the monotonic clock.

    Attributes:
        longest_gap: Seconds between two answers from which on Redis may have stood still for so
            long that the living look dead.
    """

    def __init__(self) -> None:
        self.longest_gap = CALM_INTERVAL + STALL
        self._since: float | None = None
        self._seen_at = 0.0
        self._server_time = 0.0

    def saw(self, server_time: float) -> None:
        """Take note of an answer of Redis."""
        now = time.monotonic()
        passed = now - self._seen_at
        # A clock that jumped makes leases look old or young just as a stall does.
        jumped = abs((server_time - self._server_time) - passed) > JUMP
        if self._since is None or passed > self.longest_gap or jumped:
            self._since = now
        self._seen_at = now
        self._server_time = server_time

    def saw_something(self) -> None:
        """Take note of an answer without a time; it is no reason to trust Redis again."""
        if self._since is not None:
            self.saw(self._server_time + time.monotonic() - self._seen_at)

    def lost_sight(self) -> None:
        """Take note that Redis did not answer."""
        self._since = None

    def healthy_for(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since


class Monitor(Task):
    """Returns tasks of dead workers to their queues; normally one runs in every worker.

    It looks at the worker registry every few seconds, and when a worker may be dead by then, and
    reaps at once when one is.

    Args:
        loop_interval: Seconds between two full checks of all leases.
        task_timeout: Seconds without a heartbeat after which a task is taken back although its
            worker seems alive.
    """

    NAME: ClassVar[str] = "pytask/monitor"

    def __init__(self, loop_interval: float = 10, task_timeout: float = 60) -> None:
        for option, value in (("loop_interval", loop_interval), ("task_timeout", task_timeout)):
            if not isinstance(value, int | float) or value <= 0:
                raise InvalidTask(f"{option}={value!r} of {self.NAME}: seconds are needed")
        self.loop_interval = loop_interval
        self.task_timeout = task_timeout
        self._witness = Witness()
        self._stopping = threading.Event()
        self._sweeps: dict[int, int] = {}
        self._records: Iterator[str] | None = None
        self._suspects: set[str] = set()
        self._look_again_in = LOOK_INTERVAL
        self._found = 0
        #: How far the server's clock is ahead of our monotonic one, at most; None: we cannot tell.
        self._ahead: float | None = None
        #: How many of the next checks are not to mend anything.
        self._skip = 0
        #: Partitions that could not be looked after, and since when they can be again (monotonic).
        self._doubts: dict[int, float | None] = {}

    def start(self) -> None:
        self._limit_gap()
        next_check_at = 0.0
        while not self._stopping.is_set():
            began_at = time.monotonic()
            self._look_again_in = LOOK_INTERVAL
            is_due = began_at >= next_check_at
            try:
                if is_due or not self._all_seem_alive():
                    self.look_at_workers()
                if is_due:
                    next_check_at = began_at + self.loop_interval
                    self.check_tasks()
            except RedisError as error:
                self._skip = 0
                logger.warning("Check failed: %s; the next one is in %s s", error, LOOK_INTERVAL)
            again_at = max(began_at + LOOK_INTERVAL, next_check_at)
            again_at = min(began_at + min(self._look_again_in, self._longest_pause), again_at)
            self._stopping.wait(max(0.0, again_at - time.monotonic()))

    def stop(self) -> None:
        self._stopping.set()

    @property
    def _settings(self) -> Settings:
        settings: Settings = self.helpers.settings
        return settings

    @property
    def _store(self) -> Store:
        # One attempt per look: a repeat after a pause would act on a witness of the past.
        store: Store = self.helpers.store
        return store.patient(0)

    @property
    def _longest_pause(self) -> float:
        gap = self._witness.longest_gap
        return max(gap - STALL, gap / 2)

    def _limit_gap(self) -> None:
        """Let no gap pass that could make a time-out of somebody who lives.

        What nobody saw of a stall is no longer than the gap between two answers, and a lease was as
        old as its interval when it began.
        """
        settings = self._settings
        of_tasks = self.task_timeout - settings.update_task_interval
        of_workers = settings.worker_timeout - settings.beat_interval
        gap = min(CALM_INTERVAL + STALL, of_tasks, of_workers)
        self._witness.longest_gap = max(SHORTEST_GAP, gap)

    def _all_seem_alive(self) -> bool:
        """Glance at the registry, with one command, and note when to look again.

        What is seen rests on our own clock, so it is only good for putting a look off.
        """
        if self._ahead is None:
            return False
        try:
            oldest = self._store.read_oldest_beat()
        except RedisError:
            self._ahead = None
            self._witness.lost_sight()
            raise
        self._witness.saw_something()
        if oldest is None:
            return False
        server_time = time.monotonic() + self._ahead
        next_in = oldest + self._settings.worker_timeout - server_time
        if next_in <= 0 or oldest > server_time + JUMP:
            return False
        self._look_again_in = min(CALM_INTERVAL, next_in + 0.01)
        return True

    def look_at_workers(self) -> list[str]:
        """Reap what dead workers ran; returns the dead workers that were dealt with."""
        settings = self._settings
        self._ahead, asked_at = None, time.monotonic()
        try:
            server_time, silent, next_in = self._store.read_workers(settings.worker_timeout)
        except RedisError:
            self._witness.lost_sight()
            raise
        self._witness.saw(server_time)
        # By when we asked: a slow answer makes us look too early, never too late.
        self._ahead = server_time - asked_at
        if next_in is not None:
            # Late enough to find that worker dead if it is.
            self._look_again_in = min(CALM_INTERVAL, next_in + 0.01)
        if not silent or self._witness.healthy_for() < 3 * settings.beat_interval:
            return []
        self._skip = 0
        dead = [worker.worker for worker in silent]
        left = self._in_each_partition(lambda partition: self._take_back(partition, silent))
        for worker in silent:
            # A lease may be a little younger than the last beat of its worker, so the worker stays
            # on the list until all of them are old enough to have been reaped, everywhere.
            is_settled = worker.silent_for > 2 * settings.worker_timeout + LOOK_INTERVAL
            if is_settled and not left and self._store.forget_worker(worker.worker) is Code.OK:
                logger.info("Worker %s is gone; its tasks were taken back", worker.worker)
        return dead

    def _take_back(self, partition: int, dead: list[WorkerInfo]) -> None:
        """Take back from dead workers what they ran and what they had popped."""
        self._reap(partition, [worker.worker for worker in dead])
        for worker in dead:
            queues = worker.queues or [DEFAULT_QUEUE]
            returned = self._store.give_back(
                partition, worker=worker.worker, queues=queues, forget=True
            )
            if returned:
                logger.warning("Returned %s unclaimed IDs of worker %s", returned, worker.worker)

    def _in_each_partition(self, look: Callable[[int], object]) -> list[int]:
        """Look after each partition; return those where that failed."""
        failed: list[int] = []
        trouble: RedisError | None = None
        for partition in self._store.partitions:
            try:
                look(partition)
            except RedisError as error:
                failed.append(partition)
                self._doubts[partition] = None
                trouble = error
        if failed:
            logger.warning(
                "Check of partitions %s failed, the others were checked: %s", failed, trouble
            )
        return failed

    def check_tasks(self) -> int:
        """Check all leases, and mend some of what no transition covers.

        Returns:
            How many tasks were taken back.
        """
        settings = self._settings
        reaped: list[int] = []
        patience = settings.update_task_interval + 2 * settings.beat_interval
        if self._witness.healthy_for() >= patience:
            self._in_each_partition(
                lambda partition: reaped.append(self._reap_stale(partition, patience))
            )
        if sum(reaped) or self._doubts:
            self._skip = 0
        if self._skip:
            self._skip -= 1
        elif self._is_my_turn():
            self._mend()
        return sum(reaped)

    def _mend(self) -> None:
        self._found = 0
        failed = self._in_each_partition(self._sweep)
        self._return_stray_claims()
        self._adopt_orphans()
        is_through = self._records is None and not any(self._sweeps.values())
        is_calm = is_through and not (failed or self._found or self._suspects)
        self._skip = SKIPPED if is_calm else 0

    def _reap_stale(self, partition: int, patience: float) -> int:
        if partition in self._doubts:
            # After an outage of its own shard all leases of a partition look old.
            self._sweep(partition)
            answers_since = self._doubts[partition] or time.monotonic()
            self._doubts[partition] = answers_since
            if time.monotonic() - answers_since < patience:
                return 0
            del self._doubts[partition]
        return self._reap(partition, [])

    def _is_my_turn(self) -> bool:
        # Every worker has a Monitor, and one of them sweeping is enough: each does it with a
        # probability that makes it one per round on average, without having to agree on who.
        return random.random() * max(1, self._store.count_workers()) < 1

    def _reap(self, partition: int, dead: list[str]) -> int:
        settings = self._settings
        reaped = skip = 0
        while True:
            round_ = self._store.reap(
                partition,
                task_timeout=self.task_timeout,
                worker_timeout=settings.worker_timeout,
                dead_workers=dead,
                limit=REAP_BATCH,
                skip=skip,
            )
            for task_id, code in round_.reaped:
                logger.warning("Task %s lost its worker: %s", shown(task_id), _VERDICT[code])
            reaped += len(round_.reaped)
            if round_.examined < REAP_BATCH:
                return reaped
            skip += round_.examined - len(round_.reaped)

    def _sweep(self, partition: int) -> None:
        cursor, mended = self._store.sweep(partition, self._sweeps.get(partition, 0))
        self._sweeps[partition] = cursor
        self._found += len(mended)
        for rule, task_id in mended:
            logger.warning("Mended task %s: %s", shown(task_id), rule)

    def _return_stray_claims(self) -> None:
        """Return the claim lists of workers that are not in the registry any more."""
        # Read before the registry, which a worker enters before its first claim.
        claimers = [
            (partition, worker)
            for partition in self._store.partitions
            for worker in self._store.list_claimers(partition)
        ]
        known = self._store.list_worker_names()
        keys = self.helpers.keys
        for key in set(self._store.find_claim_lists()):
            owner = keys.owner_of_claim_list(key)
            if owner is None or owner.worker in known:
                continue
            returned = self._store.give_back(
                owner.partition, worker=owner.worker, queues=[owner.queue], forget=True
            )
            self._found += 1
            if returned:
                logger.warning("Returned %s IDs of unknown worker %s", returned, owner.worker)
        for partition, worker in claimers:
            if worker not in known:
                self._found += 1
                # Buried while it was frozen, it woke, claimed, and died before its next beat.
                self._store.give_back(partition, worker=worker, queues=(), forget=True)

    def _adopt_orphans(self) -> None:
        """Put back tasks that are in no list; a suspect must look lost in two checks in a row."""
        waiting = self._store.count_waiting(DEFAULT_QUEUE)
        calls = max(1, min(100, ORPHAN_BUDGET // (waiting + 1)))
        again, self._suspects = self._suspects, set()
        for task_id in again:
            self._found += 1
            if self._store.adopt(task_id) is Code.OK:
                logger.warning(
                    "Task %s was in no list; it is back where it belongs", shown(task_id)
                )
        if self._records is None:
            self._records = self._store.scan_records()
        for _ in range(calls):
            candidate = next(self._records, None)
            if candidate is None:
                self._records = None
                return
            if self._store.adopt(candidate, only_look=True) is Code.OK:
                self._suspects.add(candidate)


_VERDICT = {
    Code.OK: "it waits for another one",
    Code.REMOVED: "it was local to it and is removed",
    Code.DEAD: "that happened too often, it is a dead letter now",
    Code.MISSING: "it has no record, the lease is dropped",
    Code.WRONG_STATE: "it does not run, the lease is dropped",
}
