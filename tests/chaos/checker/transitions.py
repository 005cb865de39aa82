"""Safety of single transitions: who may write what, and where the ID stands afterwards.

The rules are numbered as in the documentation of the promises: I3 to I12.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from .evidence import ENDED, FAILED, NONE, READY, WAITING, Entry, Evidence, Violation
from .track import Track

_RUN_ENDS = frozenset({"SUCCESS", "ERROR", "EXCEPTION", "REVOKED", "STOPPED", "RETRY"})

#: For each script the edges it may follow: states before, states after.
EDGES: dict[str, list[tuple[frozenset[str], frozenset[str]]]] = {
    "enqueue": [(READY | {NONE}, frozenset({"WAIT"}))],
    "claim": [
        (WAITING, frozenset({"RUNNING", "REVOKED"})),
        (frozenset({"STOPPED"}), frozenset({"RUNNING", "REVOKED"})),
    ],
    "finish": [(frozenset({"RUNNING"}), _RUN_ENDS)],
    "requeue": [(frozenset({"RUNNING"}), frozenset({"WAIT", "STOPPED", NONE}))],
    "reap": [(frozenset({"RUNNING"}), frozenset({"WAIT", "STOPPED", "EXCEPTION", NONE}))],
    "stop": [
        (WAITING, frozenset({"STOPPED"})),
        (frozenset({"RUNNING"}), frozenset({"RUNNING"})),
    ],
    "reload": [(frozenset({"RUNNING"}), frozenset({"RUNNING"}))],
    "restart": [(READY, frozenset({"WAIT"}))],
    "flush": [(WAITING, frozenset({NONE}))],
    "remove": [(WAITING | READY | {"RUNNING", NONE}, frozenset({NONE}))],
    "acknowledge_ended": [(ENDED, frozenset({NONE}))],
    "forget_failed": [(FAILED, frozenset({NONE}))],
    "schedule_tick": [(frozenset({NONE}), frozenset({"WAIT"}))],
    "start_local": [(frozenset({NONE}), frozenset({"RUNNING"}))],
}
#: Scripts that may leave the state as it is (and write something else).
KEEPS_STATE = frozenset(
    {
        "claim",
        "promote",
        "take_ended",
        "return_ended",
        "give_back",
        "flush",
        "sweep",
        "adopt",
        "acknowledge_ended",
        "forget_failed",
        "heartbeat",
        "reap",
    }
)
#: Entries of these answer to the owner of a run.
OWNED = frozenset({"heartbeat", "finish", "requeue"})


def check_transitions(evidence: Evidence, numbers: Counter[str]) -> Iterator[Violation]:
    """Yield what is wrong with the transitions of all tasks, in the order of each."""
    tracks: dict[str, Track] = {}
    tokens: dict[str, str] = {}
    started = {(one["id"], one["token"]) for one in evidence.history if one["ev"] == "start"}
    for entry in evidence.audit:
        task_id = entry["i"]
        track = tracks.get(task_id)
        if track is None:
            track = tracks[task_id] = Track(task_id, task_id in evidence.hand)
        track.forget_kept(entry)
        for rule, text in _check_entry(entry, track, evidence):
            yield Violation(rule, task_id, text)
        for rule, text in _check_tokens(entry, tokens, track, numbers, started):
            yield Violation(rule, task_id, text)
        track.apply(entry)
        for rule, text in _check_after(entry, track):
            yield Violation(rule, task_id, text)


def final_tracks(evidence: Evidence) -> dict[str, Track]:
    """Return every task as the audit leaves it."""
    tracks: dict[str, Track] = {}
    for entry in evidence.audit:
        track = tracks.setdefault(entry["i"], Track(entry["i"], entry["i"] in evidence.hand))
        track.forget_kept(entry)
        track.apply(entry)
    return tracks


def _check_entry(entry: Entry, track: Track, evidence: Evidence) -> Iterator[tuple[str, str]]:
    script, before, after = entry["s"], entry["f"], entry["t"]
    kept = entry.get("k") or {}
    if entry.get("failed"):
        yield "I7", f"{script} failed after it had written"
    if (before, entry.get("r")) != (track.state, track.run) and not track.by_hand:
        yield (
            "I7",
            (
                f"{script} found {before} {entry.get('r')}, the transition before left "
                f"{track.state} {track.run}"
            ),
        )
    if not _is_edge(entry):
        yield "I7", f"{script} moved it from {before or 'no state'} to {after or 'no state'}"
    if entry.get("back"):
        yield "I11", f"{script} set last_update back under token {entry.get('r')}"
    proof = entry.get("c")
    if script in OWNED and proof != entry.get("r"):
        yield "I6", f"{script} by {proof} wrote although {entry.get('r')} owned it"
    if script in OWNED and before != "RUNNING":
        yield "I6", f"{script} by {proof} wrote although it was {before}"
    yield from _SCRIPT_RULES.get(script, _no_rule)(entry, track, evidence, kept)


def _is_edge(entry: Entry) -> bool:
    script, before, after = entry["s"], entry["f"], entry["t"]
    if before == after and script in KEEPS_STATE and entry.get("r") == entry.get("R"):
        return True
    return any(before in sources and after in targets for sources, targets in EDGES.get(script, []))


def _check_tokens(
    entry: Entry,
    tokens: dict[str, str],
    track: Track,
    numbers: Counter[str],
    started: set[tuple[str, str]],
) -> Iterator[tuple[str, str]]:
    if entry["t"] == "RUNNING" and entry.get("R") != entry.get("r"):
        token = entry.get("R") or ""
        before = tokens.get(token)
        if before is not None and (before, token) not in started and started:
            # A claim without an answer was repeated after a Monitor had buried its worker, and the
            # memory of it: the run of the first token never began.
            numbers["tokens_reissued_unused"] += 1
        elif before is not None or not token:
            yield "I4", f"{entry['s']} issued token {token!r}, used before for {before}"
        tokens[token] = track.task_id
    if entry["s"] in ("enqueue", "restart") and entry["t"] == "WAIT":
        request = (entry.get("a") or {}).get("eid") or (entry.get("k") or {}).get("eid", "")
        if request in track.requests:
            yield "I5", f"{entry['s']} carried out request {request} twice"
        elif request in track.forgotten_requests:
            # The record, which remembers the request, was forgotten by Cleanup before the repeat.
            numbers["enqueued_again_after_cleanup"] += 1
        track.requests.add(request)


def _check_after(entry: Entry, track: Track) -> Iterator[tuple[str, str]]:
    misplaced = track.misplaced()
    if misplaced:
        yield (
            "I9",
            f"after {entry['s']} ({entry['f']} to {entry['t']}, unqueue "
            f"{track.unqueue}) it stands {misplaced}",
        )
    if ("x" in entry) != track.is_kept and not track.by_hand:
        when = f"in {entry['x']} ms" if "x" in entry else "never"
        yield "I9", f"after {entry['s']} it is {entry['t']}, and Redis forgets it {when}"


# Rules of single scripts


def _no_rule(*_: object) -> Iterator[tuple[str, str]]:
    return iter(())


def _claim(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    expires = float(kept.get("expires") or "inf")
    started_before = int(float(kept.get("attempts") or 0)) > 0
    # Stored with three digits.
    over = float(entry["now"]) - expires
    if entry["t"] == "REVOKED" != entry["f"] and (over < -0.002 or started_before):
        yield "I7", f"claim revoked it, but it expires at {expires} and it is {entry['now']}"
    if entry["t"] != "RUNNING" or entry["f"] == "RUNNING":
        return
    if entry.get("paused") and not track.by_hand and not track.strays and not track.adopted:
        yield "I18", f"claim took it out of queue {kept.get('queue', 'default')}, which is paused"
    began = entry.get("began", entry["now"])
    if float(began) - expires > 0.002 and not started_before:
        yield "I7", f"claim started it at {began}, expired since {expires}"
    if entry["f"] == "STOPPED" and not track.by_hand and not track.strays:
        yield "I12", "claim started it although it was stopped and nobody restarted it"
    if track.stop_pending and not track.by_hand:
        yield "I12", "claim started it although a stop was acknowledged while it ran"
    track.claims += 1
    attempts = int(float((entry.get("a") or {}).get("attempts", 0)))
    if attempts != track.claims and not track.by_hand:
        yield "I8", f"attempts is {attempts} at claim {track.claims}"


def _enqueue(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    track.claims = 0
    track.stop_pending = False
    yield from ()


def _schedule_tick(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    # After a rollback the same due time starts a task of the same ID once more.
    track.claims = 0
    yield from ()


def _restart(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    track.stop_pending = False
    allowed = entry.get("allowed") or []
    if allowed and entry["f"] not in allowed:
        yield "I7", f"restart from {entry['f']}, allowed were {allowed}"


def _stop(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    if entry["f"] == "RUNNING":
        track.stop_pending = True
    yield from ()


def _finish(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    track.stop_pending = False
    after = entry.get("a") or {}
    if after.get("done_run", kept.get("done_run")) != entry.get("c"):
        yield "I5", f"finish by {entry.get('c')} left done_run {after.get('done_run')}"
    if entry["t"] == "RETRY" and kept.get("control") == "stop":
        yield "I12", "finish made it RETRY although it had been told to stop"
    retries = int(kept.get("retries") or 0)
    if int(after.get("retries", retries)) != retries + (entry["t"] == "RETRY"):
        yield "I8", f"retries went from {retries} to {after.get('retries')}"


def _requeue(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    if entry["t"] == "WAIT" and kept.get("control") == "stop":
        yield "I12", f"{entry['s']} put it back although it had been told to stop"
    if (entry["t"] == NONE) != (kept.get("local") == "true"):
        yield "I7", f"{entry['s']} of a task with local={kept.get('local')} led to {entry['t']}"
    if entry["t"] == "STOPPED":
        track.stop_pending = False
    yield from _held_back(entry, track, kept)


def _held_back(entry: Entry, track: Track, kept: dict[str, str]) -> Iterator[tuple[str, str]]:
    """A run that a limit held back has not begun, so its claim does not count."""
    after = entry.get("a") or {}
    before = int(float(kept.get("attempts") or 0))
    attempts = int(float(after.get("attempts", before)))
    held = entry["t"] == "WAIT" and entry.get("held") == 1
    if attempts != before - held and entry["t"] != NONE:
        yield "I8", f"attempts went from {before} to {attempts} by {entry['s']}"
    if held:
        track.claims -= 1


def _reap(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    if entry["f"] != "RUNNING":
        return
    yield from _requeue(entry, track, evidence, kept)
    task_timeout, worker_timeout, most = (float(one) for one in entry["timeouts"])
    old = entry["age"] > task_timeout or (entry.get("dead") and entry["age"] > worker_timeout)
    if not old:
        yield "I3", f"reap took it {entry['age']:.3f} s after its last heartbeat"
    reaps = int(float((entry.get("a") or {}).get("reaps", kept.get("reaps") or 0)))
    if entry["t"] in ("WAIT", "EXCEPTION") and kept.get("local") != "true":
        if reaps != int(float(kept.get("reaps") or 0)) + 1:
            yield "I8", f"reaps went from {kept.get('reaps')} to {reaps}"
        if entry["t"] == "EXCEPTION" and reaps < most:
            yield "I8", f"condemned after {reaps} of {most:g} lost workers"
        output = (entry.get("a") or {}).get("output", "")
        if entry["t"] == "EXCEPTION" and not re.match(r'\{"(reason|lost_workers)":', output):
            yield "I8", "the dead letter does not say why"


def _remove(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    if entry["f"] == "RUNNING" and entry.get("force") != "1":
        yield "I7", "remove took a running task without force"


def _acknowledge(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    if not is_dealt_with(entry) or entry["f"] == NONE:
        return
    keeps = float(entry.get("keep_results") or 0) > 0
    if entry["f"] == "SUCCESS" and (entry["t"] != NONE) != keeps:
        yield "I14", f"a result was {'dropped' if keeps else 'kept'} by acknowledge_ended"
    if entry["f"] not in ENDED:
        yield "I14", f"acknowledge_ended dealt with a task that was {entry['f']}"
    if (entry.get("c") or "") != (kept.get("done_run") or ""):
        yield "I14", f"acknowledge_ended of {entry.get('c')} dealt with {kept.get('done_run')}"


def is_dealt_with(entry: Entry) -> bool:
    """Whether a Cleanup's call has forgotten a task, or put it where it is kept."""
    is_kept = "kept" in (entry.get("a") or {})
    return entry["t"] == NONE or is_kept or bool((entry.get("q") or {}).get("f"))


def _forget(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    score = entry.get("f_score")
    if entry["t"] == NONE and entry["f"] != NONE and score is not None:
        age = float(entry["now"]) - float(score)
        if age < float(entry["keep_failed"]) - 0.01:
            yield "I7", f"forget_failed deleted it after {age:.2f} s"


def _promote(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    due = float(entry.get("d_score") or 0)
    if entry.get("called") and float(kept.get("held") or 0) == due:
        return
    if due > float(entry["now"]) + 0.01:
        yield "I7", f"promote moved it {due - float(entry['now']):.2f} s before it was due"


def _start_local(
    entry: Entry, track: Track, evidence: Evidence, kept: dict[str, str]
) -> Iterator[tuple[str, str]]:
    track.claims = 1
    yield from ()


_SCRIPT_RULES = {
    "start_local": _start_local,
    "claim": _claim,
    "enqueue": _enqueue,
    "restart": _restart,
    "stop": _stop,
    "finish": _finish,
    "requeue": _requeue,
    "reap": _reap,
    "schedule_tick": _schedule_tick,
    "remove": _remove,
    "acknowledge_ended": _acknowledge,
    "forget_failed": _forget,
    "promote": _promote,
}
