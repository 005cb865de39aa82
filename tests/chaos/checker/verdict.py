"""Puts all checks together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain

from .blame import check_blame
from .clients import (
    check_children,
    check_enqueues,
    check_handlers,
    check_removals,
    check_runs,
    check_stops,
)
from .evidence import Entry, Evidence, Violation
from .final import check_final
from .limits import check_limits
from .losses import Losses
from .timetable import check_schedules
from .transitions import check_transitions, final_tracks


@dataclass
class Verdict:
    """What the checker found.

    Attributes:
        violations: Broken promises; empty is good.
        audit: What they were found in, to explain them by.
        numbers: What was counted, for coverage and report.
    """

    violations: list[Violation]
    numbers: Counter[str] = field(default_factory=Counter)
    audit: list[Entry] = field(default_factory=list)

    def by_rule(self) -> Counter[str]:
        return Counter(violation.rule for violation in self.violations)


def check(evidence: Evidence) -> Verdict:
    """Check everything that is known about a run."""
    numbers: Counter[str] = Counter()
    tracks = final_tracks(evidence)
    losses = Losses(evidence.rollbacks, evidence.audit, evidence.partitions, evidence.tagged)
    removed = {event["id"] for event in evidence.history if event["ev"] == "remove.invoke"}
    flushed = {event["queue"] for event in evidence.history if event["ev"] == "flush.invoke"}
    violations = list(
        chain(
            check_transitions(evidence, numbers),
            check_blame(evidence),
            check_schedules(evidence, tracks, numbers),
            check_limits(evidence, numbers),
            check_enqueues(evidence, tracks, losses, numbers),
            check_removals(tracks, removed, flushed),
            check_runs(evidence, tracks, losses, numbers),
            check_handlers(evidence, tracks, numbers),
            check_stops(evidence, tracks, losses),
            check_children(evidence),
            check_final(evidence, tracks),
        )
    )
    _count(evidence, numbers)
    numbers.update(losses.excused)
    numbers["excused"] = losses.excused.total()
    return Verdict(violations, numbers, evidence.audit)


def _count(evidence: Evidence, numbers: Counter[str]) -> None:
    codes = evidence.codes
    numbers["transitions"] = len(evidence.audit)
    finishes = [entry for entry in evidence.audit if entry["s"] == "finish"]
    numbers["flushed"] = sum(entry["s"] == "flush" for entry in evidence.audit)
    numbers["plug_ins_told"] = 100 * sum(event["ev"] == "told" for event in evidence.history)
    numbers["kept"] = sum("kept" in (entry.get("a") or {}) for entry in evidence.audit)
    numbers["retries"] = sum(entry["t"] == "RETRY" for entry in finishes)
    numbers["timed_out"] = sum(entry["t"] == "REVOKED" for entry in finishes)
    numbers["fenced"] = sum(
        codes[f"{script}:{code}"]
        for script in ("finish", "requeue", "heartbeat")
        for code in (0, -1, -2)
    )
    numbers["fenced_finishes"] = sum(codes[f"finish:{code}"] for code in (0, -1, -2))
    numbers["repeats"] = (
        codes["claim:repeat"]
        + codes["finish:2"]
        + codes["requeue:2"]
        + codes["enqueue:2"]
        + codes["restart:2"]
        + codes["start_local:2"]
    )
    numbers["reaps"] = codes["reap:1"] + codes["reap:3"] + codes["reap:4"]
    numbers["dead_letters"] = codes["reap:4"]
    numbers["stops"] = codes["stop:1"] + codes["stop:5"]
    numbers["restarts"] = codes["restart:1"]
    numbers["reloads"] = codes["reload:5"]
    numbers["removals"] = codes["remove:1"]
