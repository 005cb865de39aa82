"""Limits: I17, no more runs of a pool are at work at the same time than the pool has permits.

A run under a limit tells every few milliseconds that it is at work. What is judged are the spans
in which it did: a process that stood still learns only when it goes on that its permit has run out,
and may say so once more in that instant.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .evidence import Evidence, Rollback, Violation

#: Silence after which a run was not at work in between, for all that is known, in seconds.
SILENCE = 0.25
#: Less than this is not counted: an instant in which a run learns that it has to stop.
INSTANT = 0.1
#: Seconds after a rollback in which permits that were lost with it are still believed.
BELIEVED = 6.0


class Span(NamedTuple):
    """From when to when a run was at work without a break."""

    since: float
    until: float
    token: str


def check_limits(evidence: Evidence, numbers: Counter[str]) -> Iterator[Violation]:
    """Yield where a limit was exceeded."""
    told: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for event in evidence.history:
        if event["ev"] == "hold":
            told[event["pool"], event["limit"]][event["token"]].append(event["wall"])
    for (pool, limit), tokens in told.items():
        spans = [span for token, times in tokens.items() for span in _spans(token, times)]
        numbers["limited_runs"] += len(tokens)
        for since, until, holders in _excesses(spans, limit):
            if _is_rolled_back(since, evidence.rollbacks):
                numbers["excess_excused"] += 1
                continue
            yield Violation(
                "I17",
                pool,
                f"{len(holders)} at work for {until - since:.2f} s at {since:.3f}, its limit is "
                f"{limit}: {', '.join(sorted(holders))}",
            )


def _spans(token: str, times: list[float]) -> Iterator[Span]:
    times = sorted(times)
    since = before = times[0]
    for time in times[1:]:
        if time - before > SILENCE:
            yield Span(since, before, token)
            since = time
        before = time
    yield Span(since, before, token)


def _excesses(spans: Iterable[Span], limit: int) -> Iterator[tuple[float, float, frozenset[str]]]:
    moments: list[tuple[float, int, str]] = []
    for span in spans:
        if span.since == span.until:
            continue  # an instant
        moments += ((span.since, 1, span.token), (span.until, 0, span.token))
    at_work: set[str] = set()
    before: Any = None
    for time, begins, token in sorted(moments):
        if len(at_work) > limit and time - before > INSTANT:
            yield before, time, frozenset(at_work)
        if begins:
            at_work.add(token)
        else:
            at_work.discard(token)
        before = time


def _is_rolled_back(since: float, rollbacks: list[Rollback]) -> bool:
    return any(one.since <= since <= max(one.at, one.until) + BELIEVED for one in rollbacks)
