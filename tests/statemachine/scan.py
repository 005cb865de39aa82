"""How a claim decides about the IDs it meets, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .words import FOREIGN, NOW, WAITING

if TYPE_CHECKING:
    from .model import Partition


class Scan:
    """One claim under way.

    Args:
        model: Where.
        limit: Most tasks to take.
        grace_over: Queue and ID of those that waited too long for a record.

    Attributes:
        takes: IDs to start.
        rejected: IDs that were dropped, and why.
        aside: How many wait for a record.
    """

    def __init__(self, model: Partition, limit: int, grace_over: set[tuple[str, str]]) -> None:
        self._model = model
        self._limit = limit
        self._grace_over = grace_over
        self._decided: set[str] = set()
        self.takes: list[str] = []
        self.rejected: list[tuple[str, str]] = []
        self.aside = 0

    @property
    def is_full(self) -> bool:
        return len(self.takes) >= self._limit

    def drain(self, entries: list[str], queue: str) -> None:
        """Take IDs from the right of a list until there is enough to do."""
        while entries and not self.is_full:
            self.decide(entries.pop(), queue, False)

    def decide(self, task_id: str, queue: str, was_aside: bool) -> None:
        """Start, drop or set aside one ID; ``was_aside``: it waited for its record before."""
        missing = self._model.set_aside(queue)
        if self._model.unvoid(task_id, queue):
            self.rejected.append((task_id, "stopped"))
        elif task_id in self._decided:
            if not was_aside:
                self.rejected.append((task_id, "duplicate"))
            return
        else:
            self._decided.add(task_id)
            verdict = self._verdict(task_id, was_aside and (queue, task_id) in self._grace_over)
            if verdict == "aside":
                self.aside += 1
                missing.setdefault(task_id, NOW)
                return
            if verdict == "start":
                self.takes.append(task_id)
            else:
                self.rejected.append((task_id, verdict))
        if was_aside:
            missing.pop(task_id, None)

    def _verdict(self, task_id: str, grace_is_over: bool) -> str:
        record = self._model.records.get(task_id)
        if record is FOREIGN:
            return "type"
        if record is None:
            return "missing" if grace_is_over else "aside"
        if record.get("state", "") not in (*WAITING, "STOPPED"):
            return "duplicate"
        if record.get("expires") == 1.0 and not record.get("attempts"):
            self._model.expire(task_id)
            return "expired"
        return "start"
