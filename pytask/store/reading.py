"""What people look at. Nothing here changes anything, and nothing decides by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytask.keys import DEFAULT_QUEUE
from pytask.records import to_text
from pytask.store.calls import Calls, fields

#: Members per round-trip when a whole structure is read.
PAGE = 1_000


class Reading(Calls):
    """Verbs that read."""

    def read_record(self, task_id: str) -> dict[str, str]:
        """Return all fields of a record; empty when there is none."""
        return fields(self._command("HGETALL", self.keys.of(task_id).record(task_id)))

    def read_fields(self, task_id: str, names: Sequence[str]) -> list[str | None]:
        """Return some fields of a record, None for each that is absent."""
        reply = self._command("HMGET", self.keys.of(task_id).record(task_id), *names)
        return [None if value is None else to_text(value) for value in reply]

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
