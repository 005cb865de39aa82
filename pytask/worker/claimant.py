"""One who claims: sends a claim, and answers for what one without an answer may have got.

A claim may be carried out although its reply never comes. So its request is kept until there is an
answer: the same request gets the same tasks, in the same slots. Whatever comes late is looked at
again before it is started, because its leases may have run out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pytask.exceptions import RedisRefused, RedisUnavailable
from pytask.records import ClaimReply, ascending_request_ids
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store
from pytask.worker.runner import Runner
from pytask.worker.runs import Slots


class Claimant:
    """Claims tasks of one partition, one claim after the other, and starts them.

    Args:
        store: Where from.
        partition: Which.
        worker: Our name there.
        settings: The queues, and how long Redis may be silent.
        slots: Where those of a claim go back to.
        runner: Starts what was claimed.
        may_start: Asked when a claim is answered; what was claimed goes back if it says no.
        waits_at: The queue at which it waits when it claims; '' if it does not.
    """

    def __init__(
        self,
        store: Store,
        partition: int,
        *,
        worker: str,
        settings: Settings,
        slots: Slots,
        runner: Runner,
        may_start: Callable[[], bool],
        waits_at: str = "",
    ) -> None:
        self._store = store
        self._partition = partition
        self._worker = worker
        self._settings = settings
        self._slots = slots
        self._runner = runner
        self._may_start = may_start
        self._waits_at = waits_at
        self._requests = ascending_request_ids()
        #: The claim under way: request id, slots reserved, when it was first sent.
        self._pending: tuple[str, int, float] | None = None

    @property
    def is_pending(self) -> bool:
        """Whether a claim has been begun and not been answered."""
        return self._pending is not None

    @property
    def reserved(self) -> int:
        """For how many tasks there are slots in the claim under way."""
        return 0 if self._pending is None else self._pending[1]

    def begin(self, reserved: int) -> None:
        """Begin a claim, for which so many slots have been reserved."""
        self._pending = (next(self._requests), reserved, time.monotonic())

    def claim(self) -> ClaimReply:
        """Send the claim that was begun, or send it again, and start what came.

        Raises:
            RedisError: No answer, or a refusal; the claim stays begun, and its slots reserved.
        """
        request, reserved, _ = self._begun()
        return self._receive(self._send(request, reserved))

    def wait_and_claim(self, seconds: float) -> ClaimReply:
        """Send the claim that was begun along with a wait at our queue; see :meth:`claim`.

        Args:
            seconds: The longest wait.
        """
        request, reserved, _ = self._begun()
        return self._receive(
            self._store.wait_and_claim(
                self._partition,
                self._waits_at,
                worker=self._worker,
                queues=self._settings.claim_order(),
                limit=reserved,
                request=request,
                seconds=seconds,
            )
        )

    def settle(self) -> None:
        """Give back what a last claim may have got; nothing is claimed any more.

        Raises:
            RedisUnavailable: Redis does not answer; a Monitor takes care once we are gone.
        """
        if self._pending is None:
            return
        request, reserved, _ = self._pending
        try:
            # What travelled with a wait was most probably never carried out, and need not be now.
            self._receive(self._send(request, 0 if self._waits_at else reserved))
        except RedisRefused:
            # A full server claims nothing; should an earlier attempt have got something before it
            # was full, a Monitor takes it back.
            self._pending = None

    def _begun(self) -> tuple[str, int, float]:
        assert self._pending is not None
        return self._pending

    def _send(self, request: str, limit: int) -> ClaimReply:
        return self._store.claim(
            self._partition,
            worker=self._worker,
            queues=self._settings.claim_order(),
            limit=limit,
            request=request,
            waits_at=self._waits_at,
        )

    def _receive(self, reply: ClaimReply) -> ClaimReply:
        # A call without an answer never comes here and leaves _pending as it is: the same request
        # is repeated, with the same slots, because Redis may have given us tasks already.
        _, reserved, sent_at = self._begun()
        if reply.claimed and time.monotonic() - sent_at > self._settings.redis_grace:
            reply = self._without_lost(reply)
        self._pending = None
        if self._may_start():
            self._runner.start(reply.claimed, self._partition, sent_at)
        else:
            self._runner.requeue_unstarted(reply.claimed, self._partition, sent_at)
        self._slots.release(reserved - len(reply.claimed))
        return reply

    def _without_lost(self, reply: ClaimReply) -> ClaimReply:
        """Refresh leases that may be old already; drop the runs that were taken from us."""
        runs = [(task.task_id, task.token) for task in reply.claimed]
        try:
            beats = self._store.heartbeat(self._partition, runs)
        except RedisUnavailable:
            return reply  # the heartbeat sorts it out
        lost = {beat.token for beat in beats if beat.code < Code.OK}
        return reply._replace(claimed=[task for task in reply.claimed if task.token not in lost])
