"""Takes tasks off the queues of one partition.

While there are free slots the claimer calls ``claim``, which takes, marks and returns up to a few
hundred tasks per round-trip. When that comes back empty it is idle, and one waiter for each queue
blocks in BLMOVE, so that a new task is started within a millisecond. While tasks keep coming, and
there are slots to spare, a claim travels with each BLMOVE, and the reply to the wait is the task: a
round trip sooner. Such waits are short: who freezes in one has claimed what comes in it.

What BLMOVE moves lands in the claim list of this worker, in Redis: a crash between the move and
the claim loses nothing, because a Monitor returns the claim lists of dead workers. A BLMOVE that
failed may have moved something all the same (a third of the aborted ones had, when measured), so
after any end of one the next claim looks into the claim list first.

Nobody blocks on the queue of this node, which would cost every worker a connection more and idle
commands: whoever adds to it says so on a channel, see :mod:`pytask.worker.control`. Nor on a paused
queue, which would only empty it into the claim list, from where the claim puts it back.

A plain wait holds no slot. If there is none left when a task arrives, the task goes back to its
queue at once, for another worker.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Collection

from gevent import sleep
from gevent.event import Event

from pytask.records import ClaimReply, Rejected, shown
from pytask.settings import Settings
from pytask.store import Store
from pytask.worker.claimant import Claimant
from pytask.worker.runner import Runner
from pytask.worker.runs import Slots
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

#: Most tasks a claim takes that travels with a wait. Whoever finds so many claims the others.
FEW = 10
#: The part of the free slots that all these claims may hold together.
SPARE = 1 / 16
#: Seconds a claim travels for at most; well below every time-out by which a silent worker is dead.
SHORT_WAIT = 1.0
#: Seconds without a task after which waits are plain again, and long: they take fewer commands.
CALM_AFTER = 10.0


class Claimer(Service):
    """Claims tasks of one partition and starts them.

    Args:
        store: Where from.
        partition: Which.
        worker: Our name there.
        settings: Queues, batch sizes, how long to wait.
        slots: Reserved before each claim.
        runner: Starts what was claimed.
        gate: Closed while Redis is in trouble: what was claimed then would only be stopped again.
    """

    name = "claimer"

    def __init__(
        self,
        store: Store,
        partition: int,
        *,
        worker: str,
        settings: Settings,
        slots: Slots,
        runner: Runner,
        gate: Event,
    ) -> None:
        super().__init__()
        self._store = store.patient(0)
        self._partition = partition
        self._worker = worker
        self._settings = settings
        self._slots = slots
        self._runner = runner
        self._gate = gate
        self._claimant = self.claimant()
        #: Set while nothing is left to claim; the waiters work meanwhile.
        self.idle = Event()
        self._may_hold_ids = False
        self._starved = False
        #: For each queue, set unless it was found paused.
        self._open = {queue: Event() for queue in settings.queues}
        for event in self._open.values():
            event.set()

    def claimant(self, waits_at: str = "") -> Claimant:
        """Return one that claims in our place, for a waiter at that queue or for ourselves."""
        return Claimant(
            self._store,
            self._partition,
            worker=self._worker,
            settings=self._settings,
            slots=self._slots,
            runner=self._runner,
            may_start=lambda: not self._stopping and self._gate.is_set(),
            waits_at=waits_at,
        )

    def run_once(self) -> None:
        """Claim once and start what came; wait if nothing did."""
        # Also with a request that was not answered: each repeat could get us more, unheard.
        with self.resting():
            self._gate.wait()
        if not self._claimant.is_pending:
            self._claimant.begin(self._reserve())
        self._signal.clear()
        self._may_hold_ids = False
        reserved = self._claimant.reserved
        reply = self._claimant.claim()
        self.learn(reply)
        if not reply.more and len(reply.claimed) < reserved:
            if reply.claimed:
                sleep(0)  # what came alone begins before we are ready for the next
            self._wait(reply.set_aside)

    def wait_for_redis(self) -> None:
        """Wait until Redis is out of trouble; called by the waiters."""
        self._gate.wait()

    def wait_idle(self, queue: str) -> None:
        """Wait until nothing is left to claim and a queue is not paused; called by the waiters."""
        while not (self.idle.is_set() and self._open[queue].is_set() and self._gate.is_set()):
            self._open[queue].wait()
            self.idle.wait()
            self._gate.wait()

    def spare_slots(self) -> int:
        """Reserve slots for a claim that travels with a wait; return how many, 0 if there are few.

        They are out of use while the wait lasts, also for claims in other partitions.
        """
        waiters = len(self._open) * len(self._store.partitions)
        spare = int(self._slots.free * SPARE / waiters)
        return self._slots.reserve_now(min(spare, FEW, self._settings.claim_batch))

    def moved(self) -> None:
        """Note that our claim lists may hold something; called by the waiters."""
        self._may_hold_ids = True
        if self._starved:
            self.give_back()
        else:
            self.look()

    def look(self) -> None:
        """Claim again: there may be more; called by the waiters."""
        self.idle.clear()
        self.wake()

    def learn(self, reply: ClaimReply) -> None:
        """Take note of what a reply says about queues, and about IDs that were dropped."""
        for rejected in reply.rejected:
            _report(rejected)
        self._note_paused(reply.paused)

    def give_back(self, *, forget: bool = False) -> int:
        """Return what lies in our claim lists to the queues.

        Args:
            forget: This worker is about to end.

        Returns:
            How many IDs that were.
        """
        self._may_hold_ids = False
        return self._store.give_back(
            self._partition,
            worker=self._worker,
            queues=self._settings.claim_order(),
            forget=forget,
            # A Cleanup of this worker goes on dealing with what it took.
            keep_ended=not forget,
        )

    def settle(self) -> None:
        """Give back what a last claim may have got, after :meth:`stop`.

        Raises:
            RedisUnavailable: Redis does not answer; a Monitor takes care once we are gone.
        """
        self._claimant.settle()

    def _reserve(self) -> int:
        batch = self._settings.claim_batch
        reserved = self._slots.reserve_now(batch)
        if reserved:
            return reserved
        self._starved = True
        try:
            if self._may_hold_ids:
                self.give_back()
            with self.resting():
                return self._slots.reserve(batch)
        finally:
            self._starved = False

    def _note_paused(self, paused: Collection[str]) -> None:
        for queue, event in self._open.items():
            if queue in paused:
                event.clear()
            elif not event.is_set():
                event.set()

    def _may_find_something(self) -> bool:
        # One command, where a claim takes several to find nothing. Only a claim tells, though, that
        # a queue is not paused any more.
        return not all(event.is_set() for event in self._open.values()) or self._store.may_claim(
            self._partition, worker=self._worker, queues=self._settings.claim_order()
        )

    def _wait(self, set_aside: int) -> None:
        # Notifications can be lost with a connection; a plain look every few seconds cannot.
        # Nothing announces the record of an ID that was pushed before its record was written.
        most = 0.2 if set_aside else self._settings.block_seconds
        if self._may_hold_ids:
            return
        self.idle.set()
        try:
            while not self.pause(random.uniform(0.9, 1.0) * most):
                if set_aside or self._may_find_something():
                    return
        finally:
            self.idle.clear()


class Waiter(Service):
    """Waits for a task in one queue while the claimer of its partition is idle.

    Args:
        store: Where.
        queue: Which queue.
        partition: Of which partition.
        worker: Our name.
        claimer: Woken when there may be more than we can take.
        block_seconds: Longest wait in one call.
    """

    name = "waiter"

    def __init__(
        self,
        store: Store,
        queue: str,
        partition: int,
        *,
        worker: str,
        claimer: Claimer,
        block_seconds: float,
    ) -> None:
        super().__init__()
        self._store = store.patient(0)
        self._queue = queue
        self._partition = partition
        self._worker = worker
        self._claimer = claimer
        self._block_seconds = block_seconds
        self._claimant = claimer.claimant(queue)
        self._calm_at = 0.0

    def stop(self) -> None:
        """End at once, also in the middle of a wait; :meth:`settle` gives back what came of it."""
        self.kill()

    def settle(self) -> None:
        """Give back what a last claim may have got, see :meth:`Claimer.settle`."""
        self._claimant.settle()

    def run_once(self) -> None:
        """Wait until the claimer is idle, then until a task arrives or the time is up."""
        if self._claimant.is_pending:
            # What it may have got waits for nothing but Redis: its leases run out.
            with self.resting():
                self._claimer.wait_for_redis()
            reserved = self._claimant.reserved
            self._take(self._claimant.claim(), reserved)
            return
        with self.resting():
            self._claimer.wait_idle(self._queue)
        if time.monotonic() < self._calm_at and (spare := self._claimer.spare_slots()):
            self._claimant.begin(spare)
            seconds = min(SHORT_WAIT, self._block_seconds)
            self._take(self._claimant.wait_and_claim(seconds), spare)
        else:
            self._wait()

    def _take(self, reply: ClaimReply, reserved: int) -> None:
        self._claimer.learn(reply)
        if reply.more or reply.set_aside or len(reply.claimed) == reserved:
            self._claimer.look()
        if reply.claimed:
            self._calm_at = time.monotonic() + CALM_AFTER
            sleep(0)  # what came alone begins before we are ready for the next

    def _wait(self) -> None:
        moved = True
        # The spread keeps the waits of a fleet from ending together.
        seconds = round(random.uniform(0.9, 1.0) * self._block_seconds, 3)
        try:
            moved = self._store.wait_for_task(self._partition, self._queue, self._worker, seconds)
        finally:
            if moved:
                self._calm_at = time.monotonic() + CALM_AFTER
                self._claimer.moved()


def _report(rejected: Rejected) -> None:
    task_id = shown(rejected.task_id)
    if rejected.reason == "missing":
        logger.warning("ID %s on the queue has no record; it is dropped", task_id)
    elif rejected.reason == "type":
        logger.error(
            "the key of task %s is not a hash; its ID is dropped, the key is left as it is",
            task_id,
        )
    else:
        logger.debug("ID %s on the queue is dropped: %s", task_id, rejected.reason)
