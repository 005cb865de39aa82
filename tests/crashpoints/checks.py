"""What must be true after the kills, by the audit and by what stands in Redis."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytask import PyTaskHelpers
from tests.chaos.audit import read_stream
from tests.chaos.history import read_all
from tests.support.waiting import wait_until

from .roles import QUIET, SETTINGS

if TYPE_CHECKING:
    from .driver import Stage
    from .feeder import Feeder

#: Seconds without any progress after which what the dead left counts as left for ever.
SETTLING = 40.0

_ENDED = {"SUCCESS", "ERROR", "EXCEPTION", "REVOKED"}
_LOCAL = {"pytask/monitor", "pytask/cleanup"}


@dataclass
class Outcome:
    """How many tasks were promised, and what is wrong with them."""

    confirmed: int = 0
    reaps: int = 0
    problems: list[str] = field(default_factory=list)


def settle_and_check(stage: Stage, feeder: Feeder) -> Outcome:
    """Wait until nothing moves any more, then look at every task."""
    outcome = Outcome()
    (stage.directory / QUIET).touch()
    with PyTaskHelpers(stage.server.url, **SETTINGS, redis_patience=120.0) as helpers:
        _stop_services(helpers)
        for queue in helpers.store.list_paused():
            # Whoever had paused it has died; no worker serves it.
            helpers.resume_queue(queue)
        try:
            _settle(helpers)
        except AssertionError as error:
            outcome.problems.append(f"did not settle: {error}")
        history = read_all(stage.directory)
        confirmed = {one["id"] for one in history if one["ev"] == "confirmed"}
        handled = {one["id"] for one in history if one["ev"] == "handled"}
        audit = defaultdict(list)
        for entry in read_stream(helpers.link.execute, "audit"):
            audit[entry["i"]].append(entry)
        outcome.confirmed = len(confirmed)
        for task_id, entries in audit.items():
            outcome.reaps += sum(one["s"] == "reap" for one in entries)
            record = helpers.get_task(task_id)
            outcome.problems += _check_task(task_id, entries, record, task_id in handled)
        never = confirmed - set(audit)
        outcome.problems += [f"{one} was confirmed and never seen" for one in sorted(never)]
        outcome.problems += _check_places(helpers)
    if outcome.problems:
        outcome.problems.append(f"history, audit and log are in {stage.directory}")
    return outcome


def _settle(helpers: PyTaskHelpers) -> None:
    """Wait until survivors have done all that is left, as long as it gets less."""
    todo, least = left(helpers), None
    changed_at = time.monotonic()
    while todo:
        size = sum(len(one) if isinstance(one, list) else abs(one) for one in todo.values())
        if least is None or size < least:
            least, changed_at = size, time.monotonic()
        assert time.monotonic() - changed_at < SETTLING, str(todo)[:2000]
        time.sleep(0.2)
        todo = left(helpers)


def _stop_services(helpers: PyTaskHelpers) -> None:
    """Stop the services of clients that died, until all have heard it."""

    def running() -> list[str]:
        found = [one for one in helpers.store.scan_records() if one.startswith("service-")]
        alive = [one for one in found if helpers.get_task(one, "state") not in (None, "STOPPED")]
        for one in alive:
            helpers.store.stop(one)
        return alive

    wait_until(
        lambda: not running(), 2 * SETTLING, lambda: f"services end: {running()}", interval=0.3
    )


def left(helpers: PyTaskHelpers) -> dict[str, Any]:
    """Return what still has to be done by somebody."""
    store = helpers.store
    workers = store.list_workers()
    active = [helpers.get_task(one, ["task", "state"]) for one in helpers.get_active_task_ids()]
    found = {
        "waiting": helpers.get_new_task_ids(),
        "ended": helpers.get_end_task_ids(),
        "delayed": list(store.iterate_delayed()),
        "held": sorted(set(store.find_claim_lists())),
        "running": [task for task, state in active if state == "RUNNING" and task not in _LOCAL],
        "workers": len(workers) - 1,
        "local": sum(task in _LOCAL for task, _ in active) - 2,
        "leases": store.count()["running"] - 2,
        "permits": [key.decode() for key in helpers.link.scan_iter("*:permits:*")],
        "orphans": [
            one
            for one in store.scan_records()
            if helpers.get_task(one, "state") in (None, "WAIT", "RETRY", "RUNNING")
            and helpers.get_task(one, "task") not in _LOCAL
            and not one.startswith("spare-")
        ],
    }
    return {name: value for name, value in found.items() if value}


def _check_task(
    task_id: str, entries: list[dict[str, Any]], record: dict[str, str], was_handled: bool
) -> Iterable[str]:
    """Say what is wrong with the life of one task."""
    if any((one.get("k") or {}).get("local") or _task_of(one) in _LOCAL for one in entries):
        return
    steps = Counter(one["s"] for one in entries)
    starts = [one for one in entries if one["t"] == "RUNNING" and one["f"] != "RUNNING"]
    reaps = [one for one in entries if one["s"] == "reap" and one["f"] == "RUNNING"]
    given_back = [one for one in entries if one["s"] == "requeue" and one["f"] == "RUNNING"]
    # A run that a limit held back has not begun, and its claim does not count.
    returns = [one for one in given_back if not one.get("held")]
    held_back = len(given_back) - len(returns)
    ends = [one for one in entries if one["t"] in _ENDED and one["f"] not in _ENDED]
    tokens = [one["R"] for one in starts]
    if len(tokens) != len(set(tokens)):
        yield f"{task_id}: a token was given twice"
    owner: str | None = None
    for one in entries:
        if one["t"] == "RUNNING" and one["f"] == "RUNNING" and one.get("r") != one.get("R"):
            yield f"{task_id}: changed its owner while it ran"
        if one.get("r") != owner:
            yield f"{task_id}: {one['s']} found owner {one.get('r')} and not {owner}"
        owner = one.get("R")
    if not task_id.startswith(("plain-", "child-")):
        return
    # A task that tells twice, because its first worker died, starts its child twice.
    asked = len([one for one in entries if one["s"] == "enqueue"])
    if len(ends) != (asked if task_id.startswith("child-") else 1):
        yield f"{task_id}: ended {len(ends)} times ({dict(steps)})"
        return
    if len(ends) > 1:
        return
    attempts = int((ends[0].get("k") or {}).get("attempts") or 0)
    if not attempts == len(starts) - held_back == 1 + len(reaps) + len(returns):
        yield (
            f"{task_id}: {attempts} attempts, {len(starts)} starts, {len(reaps)} reaps, "
            f"{len(returns)} returns, {held_back} times held back"
        )
    if int((ends[0].get("k") or {}).get("reaps") or 0) != len(reaps):
        yield f"{task_id}: says {(ends[0].get('k') or {}).get('reaps')} reaps, had {len(reaps)}"
    kept = "kept" in task_id
    if kept and record.get("done_run") != ends[0].get("r"):
        yield f"{task_id}: its record is not that of the run that ended it: {record}"
    if not kept and not was_handled:
        yield f"{task_id}: no handler was shown its end"
    if not kept and ends[0]["t"] == "SUCCESS" and record:
        yield f"{task_id}: its record was not forgotten: {record}"


def _task_of(entry: dict[str, Any]) -> str:
    return str((entry.get("a") or {}).get("task") or "")


def _check_places(helpers: PyTaskHelpers) -> Iterable[str]:
    """Say which IDs stand in a place they do not belong to, and which keys nobody should have."""
    active = Counter(helpers.get_active_task_ids())
    failed = {one for one, _ in helpers.store.iterate_failed()}
    for task_id in set(helpers.store.scan_records()):
        state, cleanup = helpers.get_task(task_id, ["state", "cleanup"])
        stays = state in ("RUNNING", "STOPPED") or cleanup == "false"
        if task_id.startswith("spare-"):
            continue
        if stays != (active.pop(task_id, 0) == 1):
            yield f"{task_id} ({state}) in the task set: {not stays}"
        if not stays and (state in _ENDED) != (task_id in failed):
            yield f"{task_id} ({state}) among the failed: {task_id in failed}"
    if active:
        yield f"in the task set without a record: {sorted(active)}"
    names = helpers.keys.partitions[0]
    known = {
        names.tasks, names.leases, names.claims, names.failed, names.new_queue("nobody"),
        names.schedules, names.fence,
        helpers.keys.workers, helpers.keys.partition_count, "audit", "audit-codes",
    }  # fmt: skip
    for raw in set(helpers.link.scan_iter("*")):
        key = raw.decode()
        # Who waited for a limit and was removed is forgotten in time.
        ours = (names.record_prefix, helpers.keys.worker_prefix, names.waiting(""))
        if key in known or key.startswith(ours):
            continue
        yield f"key {key} is left"
    claimers = helpers.store.list_claimers(0)
    if len(claimers) > 1:
        yield f"{claimers} have a memory of their last claim, and one of them lives"
