"""What holds whatever the model says: which transitions there are, and where an ID must stand."""

from __future__ import annotations

import time
from typing import Any

from .upkeep import Model
from .words import ENDED, FOREIGN

Record = dict[str, Any] | None
_NONE, _UNSET = "(none)", "(no state)"
_READY = {*ENDED, "STOPPED"}
_STARTABLE = {_UNSET, "WAIT", "RETRY", "STOPPED"}

#: The arrows of the state machine, by the verb that may follow them (I7).
EDGES: dict[str, set[tuple[str, str]]] = {
    "enqueue": {(old, "WAIT") for old in {_NONE, _UNSET, *_READY}},
    "claim": {(old, new) for old in _STARTABLE for new in ("RUNNING", "REVOKED")},
    "schedule_tick": {(old, "WAIT") for old in (_NONE, _UNSET)},
    "start_local": {(_NONE, "RUNNING")},
    "finish": {("RUNNING", new) for new in {*_READY, "RETRY"}},
    "requeue": {("RUNNING", new) for new in ("WAIT", "STOPPED", _NONE)},
    "reap": {("RUNNING", new) for new in ("WAIT", "STOPPED", "EXCEPTION", _NONE)},
    "stop": {(old, "STOPPED") for old in (_UNSET, "WAIT", "RETRY")},
    "restart": {(old, "WAIT") for old in _READY},
    "remove": {(old, _NONE) for old in {_UNSET, "WAIT", "RETRY", "RUNNING", *_READY}},
    "flush": {(old, _NONE) for old in (_UNSET, "WAIT", "RETRY")},
    "acknowledge": {(old, _NONE) for old in ENDED},
    "forget_failed": {(old, _NONE) for old in ENDED if old != "SUCCESS"},
}
#: A call that arrives late may be any of these.
EDGES["late"] = set().union(*(EDGES[v] for v in ("enqueue", "claim", "finish", "requeue",
                                                  "restart", "stop")))  # fmt: skip
#: People may do anything.
BY_HAND = "by hand"


def state_of(record: Record) -> str:
    if record is None:
        return _NONE
    return record.get("state") or _UNSET


def check_edge(verb: str, task_id: str, old: Record, new: Record) -> None:
    """Check that a step followed an arrow of the state machine (I7)."""
    edge = (state_of(old), state_of(new))
    if verb == BY_HAND or edge[0] == edge[1]:
        return
    assert edge in EDGES.get(verb, ()), f"{task_id} went {edge[0]} -> {edge[1]} by {verb} (I7)"


def check_run(verb: str, task_id: str, old: Record, new: Record, tokens: dict[str, str]) -> None:
    """Check who owns the task, and that nobody owned it at the same time.

    Args:
        verb: What was done.
        task_id: The task.
        old: Its record before.
        new: Its record now.
        tokens: Every token ever seen, with its task; new ones are entered.
    """
    old, new = old or {}, new or {}
    before, now = old.get("run"), new.get("run")
    if verb != BY_HAND:
        assert not (before and now and before != now), f"{task_id} has two owners (I3)"
        if now and before is None:
            # A claim that arrives again after all its runs are over may repeat their tokens: nobody
            # is left who holds them.
            is_new = now not in tokens or verb == "late"
            assert is_new, f"token {now} was issued before, to {tokens.get(now)} (I4)"
            assert new["attempts"] == old.get("attempts", 0) + 1, f"attempts of {task_id} (I8)"
        elif now:
            # One of the future is of a clock that was set back since.
            latest = min(old["last_update"], time.time() - 1.0)
            assert new["last_update"] >= latest, f"{task_id} went back in time (I11)"
    if now:
        tokens.setdefault(now, task_id)
        assert ("run" in new) == (new.get("state") == "RUNNING") or verb == BY_HAND
    if verb != BY_HAND:
        lost = new.get("reaps", 0) - old.get("reaps", 0)
        assert lost <= (verb == "reap"), f"{task_id} lost {lost} workers in one step (I8)"


def check_conservation(view: Model, meddled: set[str]) -> None:
    """Check that every ID stands where its state says, and nowhere twice (I9, I10)."""
    for task_id, record in view.records.items():
        if record is FOREIGN or task_id in meddled or "state" not in record:
            continue
        entries = entries_of(view, task_id)
        void = len(record.get("void", ()))
        state = record["state"]
        live = entries - void + (task_id in view.delayed)
        ended = view.end.count(task_id)
        held = sum(held.count(task_id) for held in view.end_claims.values())
        text = f"{task_id} is {state}: {live} live entries, {ended} in the end queue, {held} taken"
        assert ended <= 1, f"{text} (I10)"
        assert live == (state in ("WAIT", "RETRY")), f"{text} (I9, I10)"
        in_set = state in ("RUNNING", "STOPPED") or (
            state in ENDED and record.get("cleanup") == "false"
        )
        assert (task_id in view.tasks) == in_set, f"{text}; in the task set: {not in_set} (I9)"
        assert (task_id in view.leases) == (state == "RUNNING"), f"{text}, lease (I9)"
        if state in ENDED and not in_set:
            accounted = held or task_id in view.failed or "kept" in record
            assert ended or accounted, f"{text} (I9)"
    known = {*view.tasks, *view.leases, *view.delayed, *view.failed} - meddled
    lost = known - view.records.keys()
    assert not lost, f"{sorted(lost)} have no record (I9)"


def entries_of(view: Model, task_id: str) -> int:
    """Count the entries of an ID in new queues and in the claim lists of workers."""
    lists = [*view.queues.values(), *view.claims.values()]
    return sum(entries.count(task_id) for entries in lists)
