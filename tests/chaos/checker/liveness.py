"""How soon things go on after a fault: L1, L5, and the timeline of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from .ability import WITNESS_SECONDS, Ability
from .evidence import Entry, Evidence, Violation

#: What one round of a Monitor may add to the time-outs: its look at the registry, three beats that
#: show that Redis is healthy, the claim, and a busy machine.
MONITOR_SECONDS = 4.0


class Recovery(NamedTuple):
    """A task that ran in a worker that was killed, until it ran again or its loss was judged.

    ``disturbed`` is for how long meanwhile nobody was able to take it back, because all workers
    were dead, frozen or cut off, or Redis was away.
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
    ability = Ability(evidence)
    by_task: dict[str, list[Entry]] = defaultdict(list)
    for entry in evidence.audit:
        by_task[entry["i"]].append(entry)
    return [
        recovery
        for task_id, entries in by_task.items()
        for recovery in _of_task(task_id, entries, kills, ability)
    ]


def _of_task(
    task_id: str,
    entries: list[Entry],
    kills: dict[str, float],
    ability: Ability,
) -> Iterator[Recovery]:
    owner, token = "", None
    for index, entry in enumerate(entries):
        if entry["s"] == "claim" and entry["t"] == "RUNNING":
            owner, token = entry.get("w", ""), entry.get("R")
        if entry["s"] != "reap" or entry.get("r") != token or owner not in kills:
            continue
        killed_at = kills[owner]
        again = next((one for one in entries[index:] if one["s"] == "claim"), None)
        # Who may be to blame for the loss waits for its turn, and so does what stands in a queue
        # that is served after another one; they have been taken back all the same.
        waits = (entry.get("q") or {}).get("d") or (entry.get("k") or {}).get("queue") == "mail"
        end = entry["at"] if waits or again is None or entry["t"] != "WAIT" else again["at"]
        if end >= killed_at and entry["f"] == "RUNNING":
            away = ability.seconds_without(killed_at, end)
            yield Recovery(task_id, killed_at, end - killed_at, away)


def check_last_reaps(evidence: Evidence, worker_timeout: float) -> Iterator[Violation]:
    """L1, once everything is healed: whoever is lost is taken back.

    Servers and network are no excuse any more. But poison that is left still kills workers, and
    while all of them start again nobody is there to take anything back.
    """
    ability = Ability(evidence)
    healed = next((one["wall"] for one in evidence.history if one["ev"] == "healed"), None)
    for entry in evidence.audit if healed is not None else ():
        if entry["s"] != "reap" or entry["f"] != "RUNNING" or entry["at"] < healed:
            continue
        # From its last beat, or from when somebody could judge again.
        since = max(entry["at"] - entry["age"], healed + WITNESS_SECONDS)
        waited = entry["at"] - since - ability.seconds_without(since, entry["at"])
        if waited > worker_timeout + MONITOR_SECONDS:
            yield Violation("L1", entry["i"], f"taken back {waited:.1f} s after all was healed")


def check_recoveries(
    recoveries: list[Recovery], worker_timeout: float, measures: dict[str, float]
) -> Iterator[Violation]:
    """L1: what a killed worker ran goes on within the time-out and a round of the Monitor."""
    clean = sorted(one.seconds - one.disturbed for one in recoveries)
    measures["recovery_checked"] = sum(one.disturbed < one.seconds / 2 for one in recoveries)
    everything = sorted(one.seconds for one in recoveries)
    for name, values in (("recovery", everything), ("recovery_able", clean)):
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
