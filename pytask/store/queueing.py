"""Whole queues: held back, looked at, emptied. Each call goes through all partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytask.keys import DEFAULT_QUEUE, PartitionKeys
from pytask.queues import QueueInfo
from pytask.records import WorkerInfo, to_text
from pytask.states import Code
from pytask.store.calls import Argument, Calls

#: Most entries one call of ``flush`` looks at: about two milliseconds of Redis.
FLUSH_BATCH = 200


class Queueing(Calls):
    """Verbs for queues.

    What is cut short between two partitions has happened in some of them: to be repeated.
    """

    def pause(self, queue: str, partition: int | None = None) -> Code:
        """Hold the tasks of a queue back.

        Args:
            queue: Its name.
            partition: Where; None: everywhere.

        Returns:
            ``OK``, or ``ALREADY`` if it was paused before.
        """
        codes = [self._run("pause", [names.paused], [queue]) for names in self._those(partition)]
        return Code(min(codes))

    def resume(self, queue: str, partition: int | None = None) -> Code:
        """Hold the tasks of a queue back no longer.

        Args:
            queue: Its name.
            partition: Where; None: everywhere.

        Returns:
            ``OK``, or ``ALREADY`` if it was not paused.
        """
        codes = [
            self._run("resume", [names.paused], [queue, self.keys.wake_channel, names.number])
            for names in self._those(partition)
        ]
        return Code(min(codes))

    def flush(self, queue: str, partition: int | None = None) -> int:
        """Remove the tasks that wait in a queue now, with their records.

        Args:
            queue: Its name.
            partition: Where; None: everywhere.

        Returns:
            How many; less than there were if a reply was lost on the way.
        """
        return sum(self._flush(queue, names) for names in self._those(partition))

    def _flush(self, queue: str, names: PartitionKeys) -> int:
        keys = [names.new_queue(queue), names.missing(queue), names.tasks, names.delayed]
        keys += [names.new_queue(), names.end_queue]
        args: list[Argument] = [queue, names.record_prefix, self.keys.task_prefix, FLUSH_BATCH]
        removed: int = 0
        most: int | None = None
        while True:
            looked_at, gone, left = self._run("flush", keys, args)
            removed += gone
            # Who adds tasks meanwhile does not keep this from coming to an end.
            most = left if most is None else most - looked_at
            if looked_at < FLUSH_BATCH or most <= 0:
                return removed

    def _those(self, partition: int | None) -> list[PartitionKeys]:
        return self.keys.partitions if partition is None else [self._partition(partition)]

    def count_waiting(self, queue: str) -> int:
        """Count the tasks in a queue."""
        lists = [names.new_queue(queue) for names in self.keys.partitions]
        return sum(int(self._command("LLEN", key)) for key in lists)

    def list_paused(self) -> set[str]:
        """Return the names of the queues that are paused, in some partition at least."""
        return {
            to_text(queue)
            for names in self.keys.partitions
            for queue in self._command("SMEMBERS", names.paused)
        }

    def find_queues(self) -> Iterator[str]:
        """Yield the named queues in which tasks wait; scans the key space, and may yield twice."""
        for key in self._link.scan_iter(self.keys.queues_pattern):
            queue = self.keys.queue_of(to_text(key))
            if queue is not None:
                yield queue

    def read_queues(
        self, workers: Iterable[WorkerInfo], also: Iterable[str] = ()
    ) -> list[QueueInfo]:
        """Tell what is to be told about queues.

        Args:
            workers: The living ones.
            also: More queues, besides the default one, those that workers serve, and paused ones.
        """
        consumers: dict[str, list[str]] = {DEFAULT_QUEUE: []}
        for worker in workers:
            for queue in worker.queues:
                consumers.setdefault(queue, []).append(worker.worker)
        paused = self.list_paused()
        names = dict.fromkeys([*consumers, *also, *paused])
        return [
            QueueInfo(name, self.count_waiting(name), name in paused, consumers.get(name, []))
            for name in names
        ]
