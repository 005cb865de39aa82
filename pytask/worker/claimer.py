"""Takes tasks off the queues of one partition.

While there are free slots the claimer calls ``claim``, which takes, marks and returns up to a few
hundred tasks per round-trip. When that comes back empty it is idle, and one waiter for each queue
blocks in BLMOVE, so that a new task is started within a millisecond. A waiter that moved something
claims it in its own greenlet: waking the claimer for that would take a turn of the hub.

What BLMOVE moves lands in the claim list of this worker, in Redis: a crash between the move and
the claim loses nothing, because a Monitor returns the claim lists of dead workers. A BLMOVE that
failed may have moved something all the same (a third of the aborted ones had, when measured), so
after any end of one the next claim looks into the claim list first.

Nobody blocks on the queue of this node, which would cost every worker a connection more and idle
commands: whoever adds to it says so on a channel, see :mod:`pytask.worker.control`. Nor on a paused
queue, which would only empty it into the claim list, from where the claim puts it back.

No slot is held while waiting. If there is none left when a task arrives, the task goes back to its
queue at once, for another worker.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Collection

from gevent import sleep
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from pytask.exceptions import RedisRefused, RedisUnavailable
from pytask.records import ClaimReply, Rejected, new_request_id, shown
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store
from pytask.worker.runner import Runner
from pytask.worker.runs import Slots
from pytask.worker.service import Service

logger = logging.getLogger(__name__)


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
        #: Set while nothing is left to claim; the waiters work meanwhile.
        self.idle = Event()
        #: The claim under way: request id, slots reserved, when it was first sent.
        self._pending: tuple[str, int, float] | None = None
        #: Held during a claim, which our own greenlet or that of a waiter carries out.
        self._turn = BoundedSemaphore(1)
        self._is_waiting = False
        self._may_hold_ids = False
        self._starved = False
        #: For each queue, set unless it was found paused.
        self._open = {queue: Event() for queue in settings.queues}
        for event in self._open.values():
            event.set()

    def run_once(self) -> None:
        """Claim once and start what came; wait if nothing did."""
        # Also with a request that was not answered: each repeat could get us more, unheard.
        with self.resting():
            self._gate.wait()
        with self._turn:
            if self._pending is None:
                self._reserve()
            self._signal.clear()
            set_aside = self._round()
        if set_aside is not None:
            self._wait(set_aside)

    def _round(self) -> int | None:
        """Claim once and start what came.

        Returns:
            How many IDs wait for their record; None if there may be more to claim.
        """
        assert self._pending is not None
        self._may_hold_ids = False
        reserved = self._pending[1]
        reply = self._claim()
        for rejected in reply.rejected:
            _report(rejected)
        self._note_paused(reply.paused)
        if reply.more or len(reply.claimed) == reserved:
            return None
        if reply.claimed:
            sleep(0)  # what came alone begins before we are ready for the next
        return reply.set_aside

    def wait_idle(self, queue: str) -> None:
        """Wait until nothing is left to claim and a queue is not paused; called by the waiters."""
        while not (self.idle.is_set() and self._open[queue].is_set()):
            self._open[queue].wait()
            self.idle.wait()

    def moved(self) -> None:
        """Note that our claim lists may hold something; called by the waiters."""
        self._may_hold_ids = True
        self.idle.clear()
        if self._starved:
            self.give_back()
        else:
            self.wake()

    def claim_moved(self) -> None:
        """Claim what was moved into our claim lists, in the greenlet of the waiter that knows.

        That is sooner than waking our own, by a turn of the hub. If that is about to claim anyway,
        or there is no slot, it is woken.

        Raises:
            RedisError: As for a claim; our own greenlet repeats it.
        """
        is_free = self._is_waiting and not self._turn.locked() and self._gate.is_set()
        if not is_free or self._stopping or self._pending is not None or not self._slots.free:
            self.moved()
            return
        set_aside: int | None = None
        self.idle.clear()
        try:
            with self._turn:
                self._reserve()
                set_aside = self._round()
        finally:
            if set_aside == 0 and self._is_waiting and not self._signal.is_set():
                self.idle.set()
            else:
                self.wake()

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
        if self._pending is None:
            return
        try:
            self._claim()
        except RedisRefused:
            # A full server claims nothing; should an earlier attempt have got something before it
            # was full, a Monitor takes it back.
            self._pending = None

    def _reserve(self) -> None:
        batch = self._settings.claim_batch
        reserved = self._slots.reserve_now(batch)
        if not reserved:
            self._starved = True
            try:
                if self._may_hold_ids:
                    self.give_back()
                with self.resting():
                    reserved = self._slots.reserve(batch)
            finally:
                self._starved = False
        self._pending = (new_request_id(), reserved, time.monotonic())

    def _claim(self) -> ClaimReply:
        assert self._pending is not None
        request, reserved, sent_at = self._pending
        # A call without an answer leaves _pending as it is: the same request is repeated, with
        # the same slots, because Redis may have given us tasks already.
        reply = self._store.claim(
            self._partition,
            worker=self._worker,
            queues=self._settings.claim_order(),
            limit=reserved,
            request=request,
        )
        late = time.monotonic() - sent_at > self._settings.redis_grace
        self._pending = None
        if late and reply.claimed:
            reply = self._without_lost(reply)
        if self._stopping:
            self._runner.requeue_unstarted(reply.claimed, self._partition, sent_at)
        else:
            self._runner.start(reply.claimed, self._partition, sent_at)
        self._slots.release(reserved - len(reply.claimed))
        return reply

    def _note_paused(self, paused: Collection[str]) -> None:
        for queue, event in self._open.items():
            if queue in paused:
                event.clear()
            elif not event.is_set():
                event.set()

    def _without_lost(self, reply: ClaimReply) -> ClaimReply:
        """Refresh leases that may be old already; drop the runs that were taken from us."""
        runs = [(task.task_id, task.token) for task in reply.claimed]
        try:
            beats = self._store.heartbeat(self._partition, runs)
        except RedisUnavailable:
            return reply  # the heartbeat sorts it out
        lost = {beat.token for beat in beats if beat.code < Code.OK}
        return reply._replace(claimed=[task for task in reply.claimed if task.token not in lost])

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
        self._is_waiting = True
        self.idle.set()
        try:
            while not self.pause(random.uniform(0.9, 1.0) * most):
                if set_aside or self._may_find_something():
                    return
        finally:
            self._is_waiting = False
            self.idle.clear()


class Waiter(Service):
    """Waits for a task in one queue while the claimer of its partition is idle.

    Args:
        store: Where.
        queue: Which queue.
        partition: Of which partition.
        worker: Our name.
        claimer: Woken when something was moved, or may have been.
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

    def stop(self) -> None:
        """End at once, also in the middle of a wait; give back what it may have moved."""
        self.kill()

    def run_once(self) -> None:
        """Wait until the claimer is idle, then until a task arrives or the time is up."""
        with self.resting():
            self._claimer.wait_idle(self._queue)
        # The spread keeps the waits of a fleet from ending together.
        seconds = round(random.uniform(0.9, 1.0) * self._block_seconds, 3)
        try:
            moved = self._store.wait_for_task(self._partition, self._queue, self._worker, seconds)
        except BaseException:
            self._claimer.moved()
            raise
        if moved:
            self._claimer.claim_moved()


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
