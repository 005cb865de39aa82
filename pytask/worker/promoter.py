"""Moves delayed tasks that are due to their queues."""

from __future__ import annotations

import random
from collections.abc import Callable

from pytask.store import Store
from pytask.worker.service import Service

#: Longest pause between two looks, in seconds: whoever adds a task that is due sooner says so, but
#: people who do it by hand do not, and a message may be lost with a worker.
LONGEST = 5.0
#: The same while no messages arrive.
LONGEST_DEAF = 1.0
#: Most tasks moved by one call.
LIMIT = 500


class Promoter(Service):
    """Looks after the delayed set of one partition; any number of workers may.

    Args:
        store: Where.
        partition: Which.
        hears: Whether messages arrive at present.
    """

    name = "promoter"

    def __init__(self, store: Store, partition: int, hears: Callable[[], bool]) -> None:
        super().__init__()
        self._store = store.patient(0)
        self._partition = partition
        self._hears = hears

    def run_once(self) -> None:
        """Move what is due, then wait until the next one is, or an earlier one is announced."""
        promoted = self._store.promote(self._partition, LIMIT)
        if promoted.moved >= LIMIT:
            return
        if promoted.next_due_in is not None:
            self.pause(min(self._longest(), max(0.0, promoted.next_due_in)))
            return
        while not self.pause(self._longest()):
            # One command, where the script is two.
            if self._store.has_delayed(self._partition):
                return

    def _longest(self) -> float:
        return random.uniform(0.9, 1.0) * (LONGEST if self._hears() else LONGEST_DEAF)
