"""The key space at the end: every key is known, every ID stands where its record says.

I9, I10, I16 and L6.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from pytask.serializers import decode_value

from .evidence import ENDED, WAITING, Evidence, Violation
from .track import Track

_TAG = re.compile(r"\{[^}]*\}")
_KINDS = [
    ("record", re.compile(r"task-(?P<id>.+)"), dict),
    ("set", re.compile(r"tasks"), set),
    ("leases", re.compile(r"tasks:lease"), dict),
    ("failed", re.compile(r"tasks:failed"), dict),
    ("schedules", re.compile(r"tasks:schedules"), dict),
    ("permits", re.compile(r"tasks:(permits|waiting):.+"), dict),
    ("fence", re.compile(r"tasks:fence"), str),
    ("fleet", re.compile(r"tasks:(workers|worker:.+|partitions)"), object),
    ("delayed", re.compile(r"new-task:delayed"), dict),
    ("claims", re.compile(r"new-task:claims"), dict),
    ("paused", re.compile(r"new-task:paused"), set),
    ("missing", re.compile(r"new-task(:[^:]+)?:missing"), dict),
    ("claim", re.compile(r"new-task(:[^:]+)?:claim:(?P<worker>.+)"), list),
    ("queue", re.compile(r"new-task(:[^:]+)?"), list),
    ("end_claim", re.compile(r"end-task:claim:(?P<worker>.+)"), list),
    ("end", re.compile(r"end-task"), list),
    ("audit", re.compile(r"audit(-codes)?"), object),
]


class Inventory:
    """The dump, sorted by what each key is; IDs are counted by place."""

    def __init__(self, dump: dict[str, Any]) -> None:
        self.records: dict[str, dict[str, str]] = {}
        self.places: dict[str, Counter[str]] = defaultdict(Counter)
        self.owners: dict[str, list[str]] = defaultdict(list)
        self.workers: set[str] = set()
        self.unknown: list[str] = []
        for key, value in dump.items():
            self._sort(key, value)

    def _sort(self, key: str, value: Any) -> None:
        name = _TAG.sub("", key, count=1)
        for kind, pattern, expected in _KINDS:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            if not isinstance(value, expected):
                self.unknown.append(key)
            elif kind == "record":
                self.records[match["id"]] = value
            elif kind == "fleet":
                if name == "tasks:workers":
                    self.workers = set(value)
            elif kind == "claims":
                for worker in value:
                    self.owners[worker].append(f"memo of its last claim in {key}")
            elif kind not in ("audit", "schedules", "paused", "permits", "fence"):
                for task_id in value:
                    self.places[kind][task_id] += 1
                if kind in ("claim", "end_claim") and value:
                    self.owners[match["worker"]].append(f"{len(value)} IDs in {key}")
            return
        self.unknown.append(key)

    def is_foreign(self, key: str, hand: set[str]) -> bool:
        name = _TAG.sub("", key, count=1)
        return not (name.startswith("task-") and name.removeprefix("task-") in hand)


def check_final(evidence: Evidence, tracks: dict[str, Track]) -> Iterator[Violation]:
    """Yield what is wrong with the key space."""
    if not evidence.dump:
        return
    inventory = Inventory(evidence.dump)
    for key in inventory.unknown:
        if inventory.is_foreign(key, evidence.hand):
            yield Violation(
                "I16", key, "a key that is not pytask's, or of another type than it keeps"
            )
    for task_id, record in inventory.records.items():
        if task_id not in evidence.hand:
            yield from _check_place(task_id, record, inventory)
    for place, counter in inventory.places.items():
        for task_id, count in counter.items():
            yield from _check_member(place, task_id, count, inventory, evidence, tracks)
    for task_id, track in tracks.items():
        stored = inventory.records.get(task_id)
        state = "-" if stored is None else stored.get("state", "")
        if stored is None and track.is_kept:
            continue
        if state != track.state and task_id not in evidence.hand:
            yield Violation("I7", task_id, f"is {state}, the last transition made it {track.state}")
    if evidence.drained:
        yield from _check_leaks(evidence, inventory)


def _check_place(task_id: str, record: dict[str, str], inventory: Inventory) -> Iterator[Violation]:
    state = record.get("state", "")
    found = {place for place, counter in inventory.places.items() if counter[task_id]}
    if state in WAITING:
        wanted = bool(found & {"queue", "claim", "delayed", "missing"}) and not found & {"leases"}
    elif state == "RUNNING":
        wanted = {"set", "leases"} <= found
    elif state == "STOPPED" or record.get("cleanup") == "false":
        wanted = "set" in found and "leases" not in found
    elif state == "SUCCESS" and record.get("kept") == "1":
        wanted = not found & {"set", "leases", "failed"}
    elif state in ENDED:
        wanted = bool(found & {"end", "end_claim", "failed"}) and not found & {"set", "leases"}
    else:
        wanted = False
    if not wanted:
        yield Violation("I9", task_id, f"is {state or 'without state'} and in {sorted(found)}")
    if state in ENDED and record.get("output") is not None:
        yield from _check_output(task_id, record)


def _check_output(task_id: str, record: dict[str, str]) -> Iterator[Violation]:
    try:
        output = decode_value(record["output"])
    except ValueError:
        yield Violation("I5", task_id, "its output cannot be read")
        return
    told = output.get("token") if isinstance(output, dict) else None
    if told is not None and told != record.get("done_run"):
        yield Violation("I5", task_id, f"ended by {record.get('done_run')}, output is of {told}")


def _check_member(
    place: str,
    task_id: str,
    count: int,
    inventory: Inventory,
    evidence: Evidence,
    tracks: dict[str, Track],
) -> Iterator[Violation]:
    record = inventory.records.get(task_id)
    if task_id in evidence.hand:
        return
    track = tracks.get(task_id)
    if record is None:
        strays = track is not None and (track.strays, track.held_ends)
        if not strays or not strays[place in ("end", "end_claim")]:
            yield Violation("I9", task_id, f"stands in {place} without a record")
        return
    state = record.get("state", "")
    if place == "leases" and state != "RUNNING":
        yield Violation("I9", task_id, f"has a lease and is {state}")
    if place == "end" and count > 1:
        yield Violation("I10", task_id, f"stands {count} times in {place}")
    stale = len(record.get("unqueue", "").split()) + (track.strays if track else 0)
    if place == "queue" and count > 1 + stale:
        yield Violation("I10", task_id, f"stands {count} times in {place}, {stale} are void")


def _check_leaks(evidence: Evidence, inventory: Inventory) -> Iterator[Violation]:
    living = set(evidence.workers)
    for worker, what in inventory.owners.items():
        if worker not in living:
            yield Violation("L6", worker, f"gone, but left {'; '.join(what)}")
    for worker in inventory.workers - living:
        yield Violation("L6", worker, "gone, but still in the registry")
    for task_id in inventory.places["leases"]:
        owner = inventory.records.get(task_id, {}).get("worker")
        if owner not in living:
            yield Violation("L6", task_id, f"has a lease of {owner}, which is gone")
