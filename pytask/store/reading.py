"""What people look at. Nothing here changes anything, and nothing decides by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pytask.keys import DEFAULT_QUEUE
from pytask.records import to_text
from pytask.store.calls import Calls, chunks, fields

#: Members per round-trip when a whole structure is read.
PAGE = 1_000
#: Records per call: their outputs travel, so this bounds memory.
READ_BATCH = 100
#: What is read of a task somebody waits for.
STATE_FIELDS = ("state", "task", "output", "error")


class Reading(Calls):
    """Verbs that read."""

    def read_record(self, task_id: str) -> dict[str, str]:
        """Return all fields of a record; empty when there is none."""
        return fields(self._command("HGETALL", self.keys.of(task_id).record(task_id)))

    def read_fields(self, task_id: str, names: Sequence[str]) -> list[str | None]:
        """Return some fields of a record, None for each that is absent."""
        reply = self._command("HMGET", self.keys.of(task_id).record(task_id), *names)
        return [None if value is None else to_text(value) for value in reply]

    def read_records(self, task_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the records of many tasks, whole; those without one are left out."""
        found = self._read_many(task_ids, ())
        return {task_id: fields(flat) for task_id, flat in found.items() if flat}

    def read_states(self, task_ids: Sequence[str]) -> dict[str, list[bytes | None]]:
        """Return ``state``, ``task``, ``output`` and ``error`` of many tasks."""
        found = self._read_many(task_ids, STATE_FIELDS)
        return {task_id: list(values) or [None] * 4 for task_id, values in found.items()}

    def read_columns(
        self, task_ids: Sequence[str], names: Sequence[str]
    ) -> dict[str, list[str | None]]:
        """Return some fields of many tasks, None for each that is absent; [] if it is no task."""
        found = self._read_many(task_ids, names)
        return {
            task_id: [None if value is None else to_text(value) for value in values]
            for task_id, values in found.items()
        }

    def _read_many(
        self, task_ids: Sequence[str], names: Sequence[str]
    ) -> dict[str, Sequence[bytes]]:
        by_partition: dict[int, list[str]] = defaultdict(list)
        for task_id in dict.fromkeys(task_ids):
            by_partition[self.partition_of(task_id)].append(task_id)
        found: dict[str, Sequence[bytes]] = {}
        for partition, members in by_partition.items():
            prefix = self._partition(partition).record_prefix
            for batch in chunks(members, READ_BATCH):
                reply = self._run("read_records", [prefix + one for one in batch], names)
                found.update(zip(batch, reply, strict=True))
        return found

    def is_delayed(self, task_id: str) -> bool:
        """Return whether a task waits for its time rather than in a queue."""
        return self._command("ZSCORE", self.keys.of(task_id).delayed, task_id) is not None

    def list_failed(self, number: int, after: int = 0) -> list[tuple[str, float]]:
        """Return kept failures, the latest first, with the time Cleanup put them there.

        Args:
            number: Most of them.
            after: How many to leave out before.
        """
        found: list[tuple[str, float]] = []
        for names in self.keys.partitions:
            last = after + number - 1
            page = self._command("ZRANGE", names.failed, 0, last, "REV", "WITHSCORES")
            found += ((to_text(page[at]), float(page[at + 1])) for at in range(0, len(page), 2))
        found.sort(key=lambda item: -item[1])
        return found[after : after + number]

    def iterate_waiting(self, queue: str = DEFAULT_QUEUE) -> Iterator[str]:
        """Yield the IDs in a new queue, the next to be taken last."""
        for names in self.keys.partitions:
            yield from self._iterate_list(names.new_queue(queue))

    def iterate_ended(self) -> Iterator[str]:
        """Yield the IDs that ended and await Cleanup, the next to be taken last."""
        for names in self.keys.partitions:
            yield from self._iterate_list(names.end_queue)

    def iterate_active(self) -> Iterator[str]:
        """Yield the IDs in the task set."""
        for names in self.keys.partitions:
            cursor: bytes | int = 0
            while True:
                cursor, members = self._command("SSCAN", names.tasks, cursor, "COUNT", PAGE)
                yield from (to_text(member) for member in members)
                if int(cursor) == 0:
                    break

    def iterate_delayed(self) -> Iterator[tuple[str, float]]:
        """Yield the delayed IDs with the time they are due, per partition the next one first."""
        for names in self.keys.partitions:
            yield from self._iterate_scores(names.delayed)

    def iterate_failed(self) -> Iterator[tuple[str, float]]:
        """Yield the kept failures with the time Cleanup put them there."""
        for names in self.keys.partitions:
            yield from self._iterate_scores(names.failed)

    def count(self, queues: Sequence[str] = (DEFAULT_QUEUE,)) -> dict[str, int]:
        """Count tasks by where they are.

        Returns:
            ``waiting`` (in the queues given), ``delayed``, ``running``, ``active`` (the task set),
            ``ended`` (awaiting Cleanup) and ``failed``.
        """
        total = dict.fromkeys(("waiting", "delayed", "running", "active", "ended", "failed"), 0)
        for names in self.keys.partitions:
            for queue in queues:
                total["waiting"] += int(self._command("LLEN", names.new_queue(queue)))
            total["delayed"] += int(self._command("ZCARD", names.delayed))
            total["running"] += int(self._command("ZCARD", names.leases))
            total["active"] += int(self._command("SCARD", names.tasks))
            total["ended"] += int(self._command("LLEN", names.end_queue))
            total["failed"] += int(self._command("ZCARD", names.failed))
        return total

    def scan_records(self) -> Iterator[str]:
        """Yield the IDs of all records; scans the key space, and may yield one twice."""
        pattern = self.keys.records_pattern
        for key in self._link.scan_iter(pattern):
            task_id = self.keys.task_of_record(to_text(key))
            if task_id is not None:
                yield task_id

    def _iterate_list(self, key: str) -> Iterator[str]:
        start = 0
        while page := self._command("LRANGE", key, start, start + PAGE - 1):
            yield from (to_text(task_id) for task_id in page)
            start += PAGE

    def _iterate_scores(self, key: str) -> Iterator[tuple[str, float]]:
        start = 0
        while page := self._command("ZRANGE", key, start, start + PAGE - 1, "WITHSCORES"):
            for at in range(0, len(page), 2):
                yield to_text(page[at]), float(page[at + 1])
            start += PAGE
