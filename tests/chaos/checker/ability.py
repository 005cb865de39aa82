"""When somebody could have taken back the tasks of a lost worker, as far as the history tells.

A worker can while its process runs, is not frozen or kept busy, and reaches all servers; and only
some time after each of these has come true, for it judges nobody before it has seen Redis in good
health for some beats.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .evidence import Evidence

Span = tuple[float, float]
#: After a start, a freeze or an outage leases are not judged before everybody could beat again.
WITNESS_SECONDS = 2.0
#: How long a task that keeps its worker busy does so at most.
HOG_SECONDS = 5.0


class Ability:
    """Args: evidence: Of the run."""

    def __init__(self, evidence: Evidence) -> None:
        self._able = _merged(
            span
            for slot, lives in _lives(evidence.history).items()
            for span in _without(lives, _troubles(evidence.history, slot))
        )

    def seconds_without(self, since: float, until: float) -> float:
        """Return for how long of that time nobody was able."""
        able = sum(max(0.0, min(until, end) - max(since, start)) for start, end in self._able)
        return max(0.0, until - since - able)

    @property
    def seconds(self) -> float:
        """For how long in all somebody was able."""
        return sum(end - start for start, end in self._able)


def _lives(history: list[dict[str, Any]]) -> dict[int, list[Span]]:
    """Return for each slot when its processes lived, from their start to their last word."""
    began: dict[int, tuple[int, float]] = {}
    last: dict[int, float] = {}
    for event in history:
        if event["ev"] == "worker":
            began[event["pid"]] = event["slot"], event["wall"]
        if event.get("says") in began:
            last[event["says"]] = event["wall"]
    lives: dict[int, list[Span]] = {}
    for pid, (slot, since) in began.items():
        lives.setdefault(slot, []).append((since + WITNESS_SECONDS, last.get(pid, since)))
    return lives


def _troubles(history: list[dict[str, Any]], slot: int) -> list[Span]:
    """Return when the processes of a slot were hindered."""
    pids = {event["pid"] for event in history if event["ev"] == "worker" and event["slot"] == slot}
    found = []
    for event in history:
        kind, mine = event["ev"], event.get("pid") in pids
        if (
            kind == "outage"
            or (kind == "zone" and event["slot"] == slot)
            or (kind in ("freeze", "limit") and mine)
        ):
            seconds = event["seconds"]
        elif kind == "start" and mine and event["id"].startswith("hog-"):
            seconds = HOG_SECONDS
        else:
            continue
        found.append((event["wall"], event["wall"] + seconds + WITNESS_SECONDS))
    return found


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for since, until in sorted(spans):
        if until <= since:
            continue
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def _without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """Return what is left of spans."""
    left = _merged(spans)
    for start, end in _merged(holes):
        left = [
            part
            for since, until in left
            for part in ((since, min(until, start)), (max(since, end), until))
            if part[0] < part[1]
        ]
    return left
