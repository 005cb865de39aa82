"""Which acknowledgements Redis itself took back: no others are excused.

A server that loses writes loses the last ones: all those after some instant, and the audit in the
same hash slot with them. So what is left of the audit tells that instant. An acknowledgement that
came before the last entry that survived was of a write that was there, and is not excused.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Any
from zlib import crc32

from .evidence import Entry, Rollback

#: The stream counts whole milliseconds, the logs as well; all clocks are of one machine.
_SLACK = 0.02


class Losses:
    """Args: rollbacks: When writes may have been lost. audit: What survived. partitions: How many.

    Attributes:
        excused: How many acknowledgements were excused, by what they were of and why.
    """

    def __init__(
        self, rollbacks: list[Rollback], audit: list[Entry], partitions: int, tagged: bool
    ) -> None:
        self.excused: Counter[str] = Counter()
        self._partitions = partitions
        self._tagged = tagged
        instants: dict[str, list[float]] = defaultdict(list)
        for entry in audit if rollbacks else ():
            instants[entry["stream"]].append(entry["at"])
        for some in instants.values():
            some.sort()
        self._rollbacks = rollbacks
        self._instants = instants
        self._survived: dict[tuple[str, float], float] = {}

    def explain(self, kind: str, task_id: str, told: dict[str, Any]) -> bool:
        """Tell whether a write that left no trace was rolled back, and count it.

        Args:
            kind: What it was: ``enqueue``, ``finish``, ``stop``.
            task_id: Of whom.
            told: The event of the client: acknowledged at ``wall``, ``sent`` before.
        """
        stream = self._stream_of(task_id)
        for rollback in self._rollbacks:
            since = max(rollback.since, self._last_before(stream, rollback.at)) - _SLACK
            sent = told.get("sent", told["wall"])
            if told["wall"] >= since and sent <= rollback.until + _SLACK:
                self.excused[f"rolled_back ({kind}, {rollback.cause})"] += 1
                return True
        return False

    def _stream_of(self, task_id: str) -> str:
        number = crc32(task_id.encode()) % self._partitions
        return f"audit{{{number}}}" if self._tagged else "audit"

    def _last_before(self, stream: str, at: float) -> float:
        key = stream, at
        if key not in self._survived:
            instants = self._instants[stream]
            index = bisect_left(instants, at)
            self._survived[key] = instants[index - 1] if index else float("-inf")
        return self._survived[key]
