"""What clients, tasks and handlers saw, against what the server did: I1, I2, I5, I13 to I15.

Enqueues are counted in the categories of Jepsen's total-queue checker: attempted, acknowledged,
lost (acknowledged, never there), unexpected (there, never attempted) and recovered (the client
was not told, but it is there).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from pytask.serializers import decode_value

from .evidence import ENDED, NONE, READY, Entry, Evidence, Violation
from .losses import Losses
from .timetable import is_scheduled
from .track import Track
from .transitions import is_dealt_with

#: Both clocks are of one machine; the stream counts whole milliseconds.
CLOCK_SLACK = 0.05


def check_enqueues(
    evidence: Evidence, tracks: dict[str, Track], losses: Losses, numbers: Counter[str]
) -> Iterator[Violation]:
    """I1 and I2: what was acknowledged is there and comes to an end, and nothing else is there."""
    attempted, unknown = set[str](), set[str]()
    acknowledged: dict[str, dict[str, Any]] = {}
    for event in evidence.history:
        ids = event.get("ids", ())
        if event["ev"] == "enq.invoke":
            attempted.update(ids)
        elif event["ev"] == "enq.ok":
            acknowledged.update(dict.fromkeys(ids, event))
        elif event["ev"] == "enq.unknown":
            unknown.update(ids)
    there = {task_id for task_id, track in tracks.items() if _was_there(track)}
    unknown |= attempted - acknowledged.keys()
    absent = sorted(acknowledged.keys() - there)
    lost = [one for one in absent if not losses.explain("enqueue", one, acknowledged[one])]
    numbers["attempted"] = len(attempted)
    numbers["acknowledged"] = len(acknowledged)
    numbers["unknown"] = len(unknown - acknowledged.keys())
    numbers["recovered"] = len((unknown - acknowledged.keys()) & there)
    numbers["lost"] = len(lost)
    for task_id in lost:
        yield Violation("I1", task_id, "acknowledged, but it never existed")
    for task_id in sorted(there - attempted - evidence.hand):
        if not _is_local(tracks[task_id]) and not is_scheduled(tracks[task_id]):
            numbers["unexpected"] += 1
            yield Violation("I2", task_id, "it exists, but nobody asked for it")
    if evidence.drained:
        for task_id in sorted(there):
            track = tracks[task_id]
            if task_id not in attempted and not is_scheduled(track):
                continue
            if track.state not in READY and track.state != NONE:
                numbers["lost"] += 1
                yield Violation("I1", task_id, f"still {track.state or 'without state'} at the end")


def _was_there(track: Track) -> bool:
    return any(entry["t"] != NONE for entry in track.history)


def _is_local(track: Track) -> bool:
    return any(
        entry["s"] == "start_local" or (entry.get("k") or {}).get("local") == "true"
        for entry in track.history
    )


def check_removals(
    tracks: dict[str, Track], removed: set[str], flushed: set[str]
) -> Iterator[Violation]:
    """I1: a task that is gone had ended, or somebody removed it, or flushed its queue."""
    for task_id, track in tracks.items():
        for entry in track.history:
            if entry["t"] != NONE or entry["f"] == NONE:
                continue
            asked = entry["s"] == "remove" and task_id in removed
            queue = (entry.get("k") or {}).get("queue", "default")
            asked |= entry["s"] == "flush" and (queue in flushed or track.by_hand)
            local = (entry.get("k") or {}).get("local") == "true"
            if entry["f"] not in ENDED and not asked and not local:
                yield Violation("I1", task_id, f"{entry['s']} deleted it while it was {entry['f']}")


def check_runs(
    evidence: Evidence, tracks: dict[str, Track], losses: Losses, numbers: Counter[str]
) -> Iterator[Violation]:
    """I5, I13, I15: the outcome in the record is the one its owner reported, after its effect."""
    effects: dict[str, float] = {}
    in_children = 0
    answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    starts: Counter[str] = Counter()
    for event in evidence.history:
        if event["ev"] == "effect":
            effects.setdefault(event["token"], event["wall"])
            in_children += event.get("by", "").startswith("child-")
        elif event["ev"] == "start":
            starts[event["id"]] += 1
        elif event["ev"] == "finish":
            answers[event["token"]].append(event)
    numbers["in_children"] = in_children
    numbers["starts"] = sum(starts.values())
    numbers["run_again"] = sum(1 for count in starts.values() if count > 1)
    finished: dict[str, Entry] = {}
    for track in tracks.values():
        for entry in track.history:
            if entry["s"] == "finish":
                yield from _check_outcome(entry, track.task_id, effects)
                if entry.get("c") in finished:
                    yield Violation("I5", track.task_id, f"{entry['c']} ended twice")
                finished[entry.get("c") or ""] = entry
    for token, events in answers.items():
        track = tracks.get(events[-1]["id"])
        yield from _check_answers(token, events, finished.get(token), track, losses)
    numbers["finishes"] = len(finished)


def _check_outcome(entry: Entry, task_id: str, effects: dict[str, float]) -> Iterator[Violation]:
    token = entry.get("c") or ""
    if entry["t"] != "SUCCESS":
        return
    output = _decoded((entry.get("a") or {}).get("output"))
    told = output.get("token") if isinstance(output, dict) else None
    if told is not None and told != token:
        yield Violation("I5", task_id, f"finished by {token} with the output of {told}")
    if told is not None and effects:
        seen = effects.get(token)
        if seen is None:
            yield Violation("I15", task_id, f"SUCCESS of {token} without an effect")
        elif seen > entry["at"] + CLOCK_SLACK:
            yield Violation("I15", task_id, f"effect of {token} only after its finish")


def _decoded(text: str | None) -> Any:
    try:
        return decode_value(text or "null")
    except ValueError:
        return None


def _check_answers(
    token: str,
    events: list[dict[str, Any]],
    entry: Entry | None,
    track: Track | None,
    losses: Losses,
) -> Iterator[Violation]:
    codes, state = {event["code"] for event in events}, events[-1]["state"]
    told = next((event for event in events if event["code"] in (1, 2)), None)
    if told is not None and entry is None and not losses.explain("finish", told["id"], told):
        yield Violation("I13", token, f"finish {state} was acknowledged, but not carried out")
    if told is not None and entry is not None and entry["t"] not in (state, "STOPPED"):
        yield Violation("I13", token, f"finish {state} was acknowledged, stored was {entry['t']}")
    # 0 says that there is no record: after a finish whose reply was lost, Cleanup may be through.
    # And where the task asked for another attempt, that one may be, and be all that is remembered.
    if told is None and codes - {0} and entry is not None and not _has_run_since(track, entry):
        yield Violation("I13", token, f"finish was refused ({codes}), but carried out")


def _has_run_since(track: Track | None, finish: Entry) -> bool:
    """Tell whether a task was claimed once more after a finish."""
    history = track.history if track is not None else []
    later = history[history.index(finish) + 1 :] if finish in history else []
    return any(entry["s"] == "claim" and entry["t"] == "RUNNING" for entry in later)


def check_handlers(
    evidence: Evidence, tracks: dict[str, Track], numbers: Counter[str]
) -> Iterator[Violation]:
    """I14: whoever is cleaned up was handled before, at that very end."""
    handled: dict[tuple[str, str], float] = {}
    seen_any = False
    for event in evidence.history:
        if event["ev"] == "handler":
            seen_any = True
            handled.setdefault((event["id"], event["run"]), event["wall"])
            numbers["handled"] += 1
    if not seen_any:
        return
    for task_id, track in tracks.items():
        for entry in track.history:
            if entry["s"] != "acknowledge_ended" or entry["f"] not in ENDED:
                continue
            if not is_dealt_with(entry):
                continue
            when = handled.get((task_id, (entry.get("k") or {}).get("done_run") or ""))
            if when is None:
                yield Violation("I14", task_id, "cleaned up without having been handled")
            elif when > entry["at"] + CLOCK_SLACK:
                yield Violation("I14", task_id, "handled only after it had been cleaned up")


def check_stops(
    evidence: Evidence, tracks: dict[str, Track], losses: Losses
) -> Iterator[Violation]:
    """I12, the client's side: an acknowledged stop is in the audit."""
    for event in evidence.history:
        if event["ev"] != "stop.ok" or event.get("code") not in (1, 5):
            continue
        track = tracks.get(event["id"])
        if track is not None and any(entry["s"] == "stop" for entry in track.history):
            continue
        if not losses.explain("stop", event["id"], event):
            yield Violation("I12", event["id"], "a stop was acknowledged, but not carried out")


def check_children(evidence: Evidence) -> Iterator[Violation]:
    """I6: what a task forked off does nothing in the name of its worker.

    Code that catches BaseException and goes on does so in the child as well: nothing but the end
    of the process ends it. It says so, and what it tells is its own doing.
    """
    children = {event["child"] for event in evidence.history if event["ev"] == "forked"}
    told = [event for event in evidence.history if event.get("says") in children]
    deaf = {(event["says"], event["id"]) for event in told if event["ev"] == "swallowed"}
    for event in told:
        if (event["says"], event.get("id")) not in deaf:
            what = event.get("id", "")
            yield Violation("I6", what, f"{event['ev']} by process {event['says']}, a forked child")
