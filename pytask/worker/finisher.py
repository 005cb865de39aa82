"""Tells Redis how runs ended, as many per call as have ended while the last call was under way.

That is all there is to group commit: an idle worker reports an outcome at once, a busy one hundreds
per round-trip, and nobody waits for a timer.

An outcome is held until Redis has answered for it. Every attempt presents the same token, so one
whose reply was lost is answered ``ALREADY`` the next time, and one that came too late, because the
task has been given to somebody else, is refused. Until then the run keeps its slot and its lease:
a worker that cannot report does not take on more.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from pytask.exceptions import RedisRefused, RedisRejected, WrongKeyType
from pytask.records import Outcome
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store
from pytask.worker.runs import Run, RunTable
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Listener(Protocol):
    """Who wants to know what becomes of tasks."""

    def done(self, ended: Sequence[tuple[Run, Outcome]], /) -> None: ...

    def requeued(self, runs: Sequence[Run], /) -> None: ...


class Finisher(Service):
    """Reports the outcomes of one partition, and gives back what is to be requeued.

    Args:
        store: Where to.
        partition: Which.
        table: Where the runs are forgotten and their slots freed.
        settings: Batch sizes.
        on_returned: Told which run was given back.
        on_delayed: Told that a run waits for its next try.
        listener: Told what Redis has taken; None: nobody wants to know.
    """

    name = "finisher"

    def __init__(
        self,
        store: Store,
        partition: int,
        table: RunTable,
        settings: Settings,
        on_returned: Callable[[Run], None],
        on_delayed: Callable[[int], None],
        listener: Listener | None = None,
    ) -> None:
        super().__init__()
        self._store = store.patient(0)
        self._partition = partition
        self._table = table
        self._on_returned = on_returned
        self._on_delayed = on_delayed
        self._listener = listener
        self._most = settings.finish_batch
        self._limit = settings.finish_batch
        #: Large outputs make smaller batches.
        self._most_bytes = 4 * settings.max_output_bytes
        self._outcomes: deque[tuple[Run, Outcome]] = deque()
        self._returns: deque[Run] = deque()
        self._idle = False
        self._retries = False

    @property
    def held(self) -> int:
        """How many runs wait for Redis to take their end."""
        return len(self._outcomes) + len(self._returns)

    def add(self, run: Run, outcome: Outcome) -> None:
        """Report an outcome as soon as possible; does not wait."""
        self._outcomes.append((run, outcome))
        if self._idle:
            self._idle = False
            self.wake()

    def add_retry(self, run: Run, outcome: Outcome) -> None:
        """As :meth:`add`, for a run that is tried again."""
        self._retries = True
        self.add(run, outcome)

    def add_return(self, run: Run) -> None:
        """Give a run back to its queue as soon as possible; does not wait."""
        self._returns.append(run)
        if self._idle:
            self._idle = False
            self.wake()

    def run_once(self) -> None:
        """Report one batch, or wait for something to report."""
        if self._outcomes:
            self._finish()
        elif self._returns:
            self._requeue()
        else:
            self._idle = True
            self.pause(None)

    def _finish(self) -> None:
        batch = self._next_outcomes()
        outcomes = [outcome for _, outcome in batch]
        try:
            codes = self._store.finish(self._partition, outcomes)
        except (RedisRefused, RedisRejected, WrongKeyType):
            self._isolate(self._outcomes, len(batch))
            raise
        self._limit = self._most
        for _ in batch:
            self._outcomes.popleft()
        for (run, outcome), code in zip(batch, codes, strict=True):
            if code < Code.OK:
                self._report_lost(run, code, f"its outcome {outcome.state} is dropped")
        if self._listener is not None:
            both = zip(batch, codes, strict=True)
            self._listener.done([ended for ended, code in both if code >= Code.OK])
        self._table.remove([run for run, _ in batch])
        if self._retries:
            self._retries = False
            self._on_delayed(self._partition)

    def _requeue(self) -> None:
        batch = [self._returns[index] for index in range(min(self._limit, len(self._returns)))]
        runs = [(run.task_id, run.token) for run in batch]
        try:
            codes = self._store.requeue(self._partition, runs, [run.held_back for run in batch])
        except (RedisRefused, RedisRejected, WrongKeyType):
            self._isolate(self._returns, len(batch))
            raise
        self._limit = self._most
        for _ in batch:
            self._returns.popleft()
        for run, code in zip(batch, codes, strict=True):
            if code < Code.OK:
                self._report_lost(run, code, "it is not put back on its queue")
        if self._listener is not None:
            back = zip(batch, codes, strict=True)
            self._listener.requeued([run for run, code in back if code >= Code.OK])
        self._table.remove(batch)
        for run in batch:
            self._on_returned(run)

    def _next_outcomes(self) -> list[tuple[Run, Outcome]]:
        batch: list[tuple[Run, Outcome]] = []
        size = 0
        for entry in self._outcomes:
            size += len(entry[1].output)
            if batch and (size > self._most_bytes or len(batch) >= self._limit):
                break
            batch.append(entry)
        return batch

    def _isolate(self, queue: deque[T], tried: int) -> None:
        """Find out which entry Redis rejects, and let the others pass it."""
        if tried > 1:
            self._limit = max(1, tried // 2)
        else:
            queue.rotate(-1)

    def _report_lost(self, run: Run, code: Code, consequence: str) -> None:
        if code is Code.BAD_TYPE:
            logger.error(
                "the record of task %s is not a hash any more: %s", run.task_id, consequence
            )
        else:
            logger.warning(
                "task %s (%s) is not ours any more (%s): %s",
                run.task_id,
                run.task,
                code.name,
                consequence,
            )


def total_held(finishers: Sequence[Finisher]) -> int:
    """Return how many runs wait in all of them together."""
    return sum(finisher.held for finisher in finishers)
