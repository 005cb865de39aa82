"""What keeps the data in shape: due tasks, stale leases, ended tasks, dead workers, orphans.

Any number of processes may call these at once; each script decides on the record and the server's
clock, so correctness never depends on there being one Monitor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pytask.exceptions import PartitionMismatch
from pytask.records import Ended, Promoted, Reaped, WorkerInfo, to_text
from pytask.states import Code
from pytask.store.calls import MAX_BATCH, Argument, Calls, chunks, codes, fields


class Reaping(NamedTuple):
    """One round of reaping; ``examined`` as many as asked for means there is more."""

    examined: int
    reaped: list[Reaped]


class Sweep(NamedTuple):
    """One step through a task set: the cursor of the next one, and which rule mended which ID."""

    cursor: int
    mended: list[tuple[str, str]]


class Registry(NamedTuple):
    """The worker registry as of one instant.

    Attributes:
        server_time: That instant, by the server's clock.
        workers: Those that were asked for.
        next_in: Seconds until somebody can be silent for so long; None if somebody is, or nobody
            is registered.
    """

    server_time: float
    workers: list[WorkerInfo]
    next_in: float | None


class Upkeep(Calls):
    """Verbs of Monitor and Cleanup, and of every worker's small services."""

    def agree_partitions(self) -> None:
        """Make sure that the data were written with as many partitions as we use.

        Raises:
            PartitionMismatch: They were not; carries both numbers.
        """
        ours = len(self.partitions)
        stored = to_text(self._run("agree_partitions", [self.keys.partition_count], [ours]))
        theirs = int(stored) if stored.isdecimal() else stored
        if theirs != ours:
            raise PartitionMismatch(
                f"this process is configured with partitions={ours}, but the tasks in Redis are "
                f"spread over {theirs}; use partitions={theirs}, or another task_set for new data"
            )

    def promote(self, partition: int, limit: int = 500, called: Sequence[str] = ()) -> Promoted:
        """Move tasks whose time has come from the delayed set to their queues.

        Args:
            partition: Where.
            limit: Most tasks to move that are due.
            called: Up to 1,000 tasks that are moved before their time, if a limit held them back.
        """
        names = self._partition(partition)
        keys = [names.delayed, names.new_queue()]
        args: list[Argument] = [
            names.record_prefix,
            min(limit, MAX_BATCH),
            self.keys.wake_channel,
            partition,
            self.keys.fleet_channel,
            *called,
        ]
        moved, wait = self._run("promote", keys, args)
        return Promoted(moved, None if wait < 0 else wait / 1_000_000)

    def has_delayed(self, partition: int) -> bool:
        """Return whether there is anything to promote, now or later."""
        return bool(self._command("EXISTS", self._partition(partition).delayed))

    def hasten(self, task_ids: Sequence[str]) -> int:
        """Move tasks that a limit held back to the front of their queues.

        Returns:
            How many that were; one that is stopped, gone or under way already stays as it is.
        """
        by_partition: dict[int, list[str]] = {}
        for task_id in task_ids:
            by_partition.setdefault(self.keys.partition_of(task_id), []).append(task_id)
        return sum(
            self.promote(partition, 0, batch).moved
            for partition, ids in by_partition.items()
            for batch in chunks(ids, MAX_BATCH)
        )

    def reap(
        self,
        partition: int,
        *,
        task_timeout: float,
        worker_timeout: float,
        dead_workers: Sequence[str] = (),
        limit: int = 200,
        skip: int = 0,
    ) -> Reaping:
        """Take stale tasks back, the oldest leases first.

        Args:
            partition: Where to look.
            task_timeout: Seconds without a heartbeat after which any run is stale.
            worker_timeout: The same for runs of ``dead_workers``.
            dead_workers: Workers the registry calls dead.
            limit: Most leases to look at.
            skip: How many of the oldest leases to pass over: those found fresh before.
        """
        names = self._partition(partition)
        keys = [names.tasks, names.leases, names.new_queue(), names.end_queue, names.delayed]
        args: list[Argument] = [
            names.record_prefix,
            self.keys.task_prefix,
            task_timeout,
            worker_timeout,
            self.settings.max_reaps,
            limit,
            skip,
            self.keys.wake_channel,
            partition,
            *dead_workers,
        ]
        examined, reply = self._run("reap", keys, args)
        reaped = [Reaped(to_text(reply[at]), Code(reply[at + 1])) for at in range(0, len(reply), 2)]
        return Reaping(examined, reaped)

    def sweep(self, partition: int, cursor: int = 0, count: int = 200) -> Sweep:
        """Mend a few members of the task set.

        Args:
            partition: Where.
            cursor: Where to go on; 0 begins, and comes back at the end.
            count: About how many members to look at.
        """
        names = self._partition(partition)
        reply = self._run(
            "sweep", [names.tasks, names.leases], [names.record_prefix, cursor, count]
        )
        texts = [to_text(value) for value in reply]
        return Sweep(int(texts[0]), list(zip(texts[1::2], texts[2::2], strict=True)))

    def adopt(self, task_id: str, only_look: bool = False) -> Code:
        """Put an orphan, whose ID is in no list, back where its state says it belongs.

        Reads whole lists: for a few suspects only.

        Args:
            task_id: The suspect.
            only_look: Write nothing, only say whether it is an orphan.

        Returns:
            ``OK``, ``WRONG_STATE`` (it is no orphan), ``MISSING`` or ``BAD_TYPE``.
        """
        names = self.keys.of(task_id)
        keys = [
            names.record(task_id),
            names.new_queue(),
            names.delayed,
            names.end_queue,
            names.tasks,
            names.failed,
        ]
        return Code(self._run("adopt", keys, [task_id, "1" if only_look else ""]))

    def wait_for_ended(self, partition: int, worker: str, seconds: float) -> bool:
        """Block until a task has ended; its ID is moved to the worker's claim list.

        Raises:
            RedisUnavailable: The wait was cut short; an ID may have been moved all the same.
        """
        names = self._partition(partition)
        source, target = names.end_queue, names.end_claim(worker)
        moved = self._link.blocking(seconds, "BLMOVE", source, target, "RIGHT", "LEFT", seconds)
        return moved is not None

    def take_ended(self, partition: int, worker: str, limit: int = 100) -> list[Ended]:
        """Take ended tasks with their records, those taken before and not acknowledged first."""
        names = self._partition(partition)
        keys = [names.end_queue, names.end_claim(worker)]
        args: list[Argument] = [names.record_prefix, min(limit, MAX_BATCH), worker]
        reply = self._run("take_ended", keys, args)
        ended = []
        for at in range(0, len(reply), 2):
            record = fields(reply[at + 1])
            ended.append(Ended(to_text(reply[at]), record.get("done_run", ""), record))
        return ended

    def acknowledge_ended(
        self,
        partition: int,
        worker: str,
        ended: Sequence[Ended],
        *,
        keep_failed: bool,
        keep_results: float = 0.0,
    ) -> list[Code]:
        """Forget ended tasks that were dealt with; failures are kept if asked, results for a time.

        Args:
            partition: Where they live.
            worker: Whose Cleanup dealt with them.
            ended: The tasks, as they were taken.
            keep_failed: Whether failures stay, listed, until :meth:`forget_failed`.
            keep_results: Seconds until Redis forgets a success.

        Returns:
            For each its code, ``OK``, ``MISSING``, ``NOT_OWNER`` (restarted meanwhile, left alone)
            or ``BAD_TYPE``.
        """
        if not ended:
            return []
        names = self._partition(partition)
        keys = [names.end_claim(worker), names.tasks, names.failed, names.end_queue]
        keys += [names.record(item.task_id) for item in ended]
        args: list[Argument] = ["1" if keep_failed else "", math.ceil(keep_results * 1000)]
        for item in ended:
            args += (item.task_id, item.done_run)
        return codes(self._run("acknowledge_ended", keys, args))

    def return_ended(self, partition: int, worker: str, task_ids: Sequence[str]) -> int:
        """Put ended tasks that could not be dealt with behind all others in the end queue.

        Returns:
            How many were put back; those no longer held, or without a record, are not.
        """
        if not task_ids:
            return 0
        names = self._partition(partition)
        keys = [names.end_queue, names.end_claim(worker)]
        keys += [names.record(task_id) for task_id in task_ids]
        returned: int = self._run("return_ended", keys, task_ids)
        return returned

    def forget_failed(self, partition: int, keep_failed: float, limit: int = 500) -> int:
        """Delete failures kept for longer than ``keep_failed`` seconds.

        Returns:
            How many entries were looked at; as many as ``limit`` (up to 1,000): call again.
        """
        names = self._partition(partition)
        args: list[Argument] = [names.record_prefix, keep_failed, min(limit, MAX_BATCH)]
        looked_at: int = self._run("forget_failed", [names.failed], args)
        return looked_at

    def beat_worker(self, worker: str, details: Mapping[str, str] | None) -> bool:
        """Enter a worker in the registry with the server's time.

        Args:
            worker: Its name there.
            details: What it says of itself; None: nothing has changed since its last beat.

        Returns:
            False if it was not registered any more, so that its details have to be sent again.
        """
        args: list[Argument] = [worker, self.keys.fleet_channel, "1" if details is None else ""]
        args += (text for item in (details or {}).items() for text in item)
        keys = [self.keys.workers, self.keys.worker(worker)]
        return bool(self._run("beat_worker", keys, args))

    def leave_fleet(self, worker: str) -> None:
        """Mark a worker as gone; a Monitor drops it once nothing of it is left."""
        self._run("leave_fleet", [self.keys.workers], [worker, self.keys.fleet_channel])

    def forget_worker(self, worker: str) -> Code:
        """Drop a dead worker from the registry.

        Returns:
            ``OK``, ``MISSING``, or ``FRESH`` (it lives).
        """
        keys = [self.keys.workers, self.keys.worker(worker)]
        args: list[Argument] = [worker, self.settings.worker_timeout, self.keys.fleet_channel]
        return Code(self._run("forget_worker", keys, args))

    def list_workers(self) -> list[WorkerInfo]:
        """List the registered workers, living and dead."""
        return self.read_workers(-1).workers

    def count_workers(self) -> int:
        """Count the registered workers, living and dead."""
        return int(self._command("ZCARD", self.keys.workers))

    def read_oldest_beat(self) -> float | None:
        """Return when the worker that has been silent longest last beat, by the server's clock."""
        found = self._command("ZRANGE", self.keys.workers, 0, 0, "WITHSCORES")
        return float(found[1]) if found else None

    def list_worker_names(self) -> set[str]:
        """Return the names of the registered workers, living and dead."""
        return {to_text(one) for one in self._command("ZRANGE", self.keys.workers, 0, -1)}

    def read_workers(self, silent_for: float) -> Registry:
        """Return the workers silent for longer than so many seconds; -1: all of them."""
        args: list[Argument] = [self.keys.worker_prefix, silent_for]
        reply = self._run("read_workers", [self.keys.workers], args)
        workers = []
        for at in range(2, len(reply), 3):
            silent = float(reply[at + 1])
            alive = silent <= self.settings.worker_timeout
            details = fields(reply[at + 2])
            workers.append(WorkerInfo(to_text(reply[at]), silent, alive, details))
        next_in = float(reply[1])
        return Registry(float(reply[0]), workers, None if next_in < 0 else next_in)

    def list_claimers(self, partition: int) -> list[str]:
        """Return the workers of which a last claim is remembered."""
        names = self._partition(partition)
        claimants = (to_text(claimant) for claimant in self._command("HKEYS", names.claims))
        return list(dict.fromkeys(claimant.partition(" ")[0] for claimant in claimants))

    def find_claim_lists(self) -> Iterable[str]:
        """Yield the names of all claim lists, of living and dead workers; scans the key space."""
        for pattern in (f"{self.keys.new_queue}*:claim:*", f"{self.keys.end_queue}*:claim:*"):
            for key in self._link.scan_iter(pattern):
                yield to_text(key)
