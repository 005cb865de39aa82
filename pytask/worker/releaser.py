"""Gives permits back when their runs are over, and calls the tasks whose turn it is.

The order at the end is: outcome, then permit; nobody may start before the record says that the one
before has ended. A run that does not obey and is left behind keeps its permit as long as its code
goes on. A task that was held back is entered among those who wait only when it is in the delayed
set, from which it can be called.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from pytask.exceptions import RedisError
from pytask.store import Store
from pytask.store.permits import Permit, WaitingTask
from pytask.worker.permits import HeldPermits
from pytask.worker.runs import Run, RunTable
from pytask.worker.service import Service

#: Seconds between two looks at the pools in which tasks wait that this worker knows of: a dead
#: holder, or a call that was lost with its caller, costs them so long at most.
LOOK_SECONDS = 1.0
#: Most permits and entries of one call.
BATCH = 500


class Releaser(Service):
    """Gives permits back when their runs are over, and calls the tasks whose turn it is.

    It also looks after the pools in which tasks wait that it has had to do with: permits of a
    worker that died are found free, and whoever is next is called.

    Args:
        store: Where to.
        held: The permits this worker keeps.
        table: Tells which runs are over.
    """

    name = "releaser"

    def __init__(self, store: Store, held: HeldPermits, table: RunTable) -> None:
        super().__init__()
        self._store = store.patient(0)
        self._held = held
        self._permits: dict[int, deque[Permit]] = {}
        self._entering: dict[int, deque[WaitingTask]] = {}
        #: Pools in which tasks wait, by partition; the one looked at longest ago comes first.
        self._watched: dict[int, dict[str, None]] = {}
        #: Tasks that were handed a permit, by their own partition.
        self._called: dict[int, deque[str]] = {}
        self._left_behind: list[Run] = []
        self._look_at = 0.0
        table.on_limited = self.run_over

    def run_over(self, run: Run) -> None:
        """Give back what a run holds, which Redis has taken the end of; does not wait."""
        admission = run.limited
        if admission is None:
            return
        if admission.held and run.goes_on:
            # Looked at from time to time: nothing tells when such code ends.
            self._left_behind.append(run)
            self.wake()
            return
        self._held.remove(run)
        held, admission.held = admission.held, []
        self.give_back(held)
        limit = admission.refused_by
        if limit is not None and not admission.revokes and not run.is_local:
            waiting = WaitingTask(limit.pool, run.task_id, limit.most)
            partition = self._store.partition_of(limit.pool)
            self._entering.setdefault(partition, deque()).append(waiting)
            self.wake()

    def give_back(self, held: Sequence[tuple[int, Permit]]) -> None:
        """Give permits back; does not wait."""
        for partition, permit in held:
            self._permits.setdefault(partition, deque()).append(permit)
        if held:
            self.wake()

    def call(self, task_ids: Sequence[str]) -> None:
        """Hasten tasks that were handed a permit; does not wait."""
        for task_id in task_ids:
            self._called.setdefault(self._store.partition_of(task_id), deque()).append(task_id)
        if task_ids:
            self.wake()

    def watch(self, partition: int, pool: str) -> None:
        """Look at a pool from time to time, for as long as tasks wait there; does not wait."""
        pools = self._watched.setdefault(partition, {})
        if pool not in pools:
            pools[pool] = None
            self.wake()

    @property
    def is_clear(self) -> bool:
        """Whether nothing is left to tell Redis."""
        queues = (self._permits, self._entering, self._called)
        return not any(one for queue in queues for one in queue.values())

    def run_once(self) -> None:
        """Tell Redis what there is to tell, or wait for something."""
        self._signal.clear()
        self._release_left_behind()
        trouble: RedisError | None = None
        for partition in self._partitions_with_news():
            try:
                self._release(partition)
            except RedisError as error:
                trouble = error  # what lives on other nodes must not wait for this one
        # Others may add to it while Redis is asked.
        for called in list(self._called.values()):
            try:
                self._hasten(called)
            except RedisError as error:
                trouble = error
        if trouble is not None:
            raise trouble
        if self.is_clear:
            self._rest()

    def _rest(self) -> None:
        if self._left_behind or any(self._watched.values()):
            self.pause(max(0.05, self._look_at - time.monotonic()))
        else:
            self.pause(None)

    def _partitions_with_news(self) -> set[int]:
        found = {at for at, permits in self._permits.items() if permits}
        found |= {at for at, waiting in self._entering.items() if waiting}
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            found |= {at for at, pools in self._watched.items() if pools}
        return found

    def _release(self, partition: int) -> None:
        permits = self._permits.setdefault(partition, deque())
        entering = self._entering.setdefault(partition, deque())
        watched = self._watched.setdefault(partition, {})
        returned = [permits[index] for index in range(min(BATCH, len(permits)))]
        entered = [entering[index] for index in range(min(BATCH, len(entering)))]
        looked_at = list(watched)[:BATCH]
        released = self._store.release_permits(partition, returned, entered, looked_at)
        for _ in returned:
            permits.popleft()
        for _ in entered:
            entering.popleft()
        self.call(released.called)
        for pool, count in released.waiting.items():
            watched.pop(pool, None)
            if count:
                watched[pool] = None

    def _hasten(self, called: deque[str]) -> None:
        batch = [called[index] for index in range(min(BATCH, len(called)))]
        if batch:
            self._store.hasten(batch)
        for _ in batch:
            called.popleft()

    def _release_left_behind(self) -> None:
        over = [run for run in self._left_behind if not run.goes_on]
        if over:
            self._left_behind = [run for run in self._left_behind if run.goes_on]
            for run in over:
                self.run_over(run)
