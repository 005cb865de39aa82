"""How soon things go on after a fault: L1, L5, and the timeline of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from .evidence import Entry, Evidence, Violation

#: What one round of a Monitor may add to the time-outs: its look at the registry, three beats that
#: show that Redis is healthy, the claim, and a busy machine.
MONITOR_SECONDS = 4.0
#: After an outage of Redis leases are not judged before everybody could beat again.
WITNESS_SECONDS = 3.0


class Recovery(NamedTuple):
    """A task that ran in a worker that was killed, until it ran again or its loss was judged.

    ``disturbed`` is how long Redis was away meanwhile, as far as the faults tell.
    """

    task_id: str
    killed_at: float
    seconds: float
    disturbed: float


def find_recoveries(evidence: Evidence) -> list[Recovery]:
    """Return what became of the tasks of killed workers."""
    names: dict[int, str] = {}
    kills: dict[str, float] = {}
    for event in evidence.history:
        if event["ev"] == "worker":
            names[event["pid"]] = event["worker"]
        elif event["ev"] == "kill" and event["pid"] in names:
            kills[names[event["pid"]]] = event["wall"]
    outages = _outages(evidence)
    by_task: dict[str, list[Entry]] = defaultdict(list)
    for entry in evidence.audit:
        by_task[entry["i"]].append(entry)
    return [
        recovery
        for task_id, entries in by_task.items()
        for recovery in _of_task(task_id, entries, kills, outages)
    ]


def _of_task(
    task_id: str,
    entries: list[Entry],
    kills: dict[str, float],
    outages: list[tuple[float, float]],
) -> Iterator[Recovery]:
    owner, token = "", None
    for index, entry in enumerate(entries):
        if entry["s"] == "claim" and entry["t"] == "RUNNING":
            owner, token = entry.get("w", ""), entry.get("R")
        if entry["s"] != "reap" or entry.get("r") != token or owner not in kills:
            continue
        killed_at = kills[owner]
        again = next((one for one in entries[index:] if one["s"] == "claim"), None)
        end = again["at"] if again is not None and entry["t"] == "WAIT" else entry["at"]
        if end >= killed_at and entry["f"] == "RUNNING":
            away = sum(
                max(0.0, min(end, until) - max(killed_at, since)) for since, until in outages
            )
            yield Recovery(task_id, killed_at, end - killed_at, away)


def _outages(evidence: Evidence) -> list[tuple[float, float]]:
    """Return when Redis was away or may have seemed so, without overlaps."""
    spans = []
    for event in evidence.history:
        if event["ev"] == "outage" or (event["ev"] == "fault" and event["area"] == "network"):
            spans.append((event["wall"], event["wall"] + event["seconds"] + WITNESS_SECONDS))
    merged: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged


def check_recoveries(
    recoveries: list[Recovery], worker_timeout: float, measures: dict[str, float]
) -> Iterator[Violation]:
    """L1: what a killed worker ran goes on within the time-out and a round of the Monitor."""
    clean = sorted(one.seconds for one in recoveries if not one.disturbed)
    everything = sorted(one.seconds for one in recoveries)
    for name, values in (("recovery", everything), ("recovery_undisturbed", clean)):
        if values:
            measures[f"{name}_count"] = len(values)
            measures[f"{name}_p50"] = quantile(values, 0.5)
            measures[f"{name}_p99"] = quantile(values, 0.99)
            measures[f"{name}_max"] = values[-1]
    for one in recoveries:
        limit = worker_timeout + MONITOR_SECONDS + one.disturbed
        if one.seconds > limit:
            yield Violation(
                "L1", one.task_id, f"went on after {one.seconds:.1f} s, allowed {limit:.1f}"
            )


def quantile(values: list[float], share: float) -> float:
    """Return the value below which that share of sorted values lies."""
    return values[min(len(values) - 1, int(share * len(values)))]


def measure_overlaps(evidence: Evidence, measures: dict[str, float]) -> None:
    """L5: how long an old run went on beside its successor, in workers that were not frozen."""
    slow = {event["pid"] for event in evidence.history if event["ev"] == "freeze"}
    runs: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for event in evidence.history:
        if event["ev"] in ("start", "tick", "effect"):
            run = runs[event["id"]].setdefault(event["token"], [event["wall"], 0.0, event["pid"]])
            run[1] = event["wall"]
            if event["ev"] == "start" and event["id"].startswith("hog"):
                slow.add(event["pid"])
    overlaps, successions = [], 0
    for tokens in runs.values():
        ordered = sorted(tokens.values())
        for before, after in pairwise(ordered):
            successions += 1
            if before[1] > after[0] and before[2] not in slow:
                overlaps.append(before[1] - after[0])
    measures["successions"] = successions
    measures["overlaps"] = len(overlaps)
    measures["overlap_max"] = max(overlaps, default=0.0)


def make_timeline(evidence: Evidence, recoveries: list[Recovery]) -> dict[str, Any]:
    """Return what happened second by second, for the plot."""
    began = next((one["wall"] for one in evidence.history if one["ev"] == "begin"), 0.0)
    per_second: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in evidence.audit:
        if entry["f"] != entry["t"]:
            second = int(entry["at"] - began)
            if entry["s"] == "finish":
                per_second["finished"][second] += 1
            elif entry["s"] == "reap":
                per_second["reaped"][second] += 1
            elif entry["s"] == "enqueue":
                per_second["enqueued"][second] += 1
    faults = [
        [round(one["wall"] - began, 2), one["name"], one["area"], round(one["seconds"], 2)]
        for one in evidence.history
        if one["ev"] == "fault"
    ]
    seconds = max((max(counts) for counts in per_second.values() if counts), default=0)
    return {
        **{
            name: [per_second[name][second] for second in range(seconds + 1)]
            for name in ("enqueued", "finished", "reaped")
        },
        "faults": faults,
        "recoveries": [
            [round(one.killed_at - began, 2), round(one.seconds, 3)] for one in recoveries
        ],
    }
