"""How soon work goes on when a worker goes, and what a lost worker may still do."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

from pytask.records import NewTask, to_json

from ..checker.liveness import find_recoveries
from ..options import FAST
from ..stage import Stage
from .base import SHORT, Row, Session, Spread, between

#: What a worker that was taken for dead is answered: no record, not RUNNING, not its token.
REFUSALS = (0, -1, -2)


def _recover(session: Session, settings: dict[str, Any], small: int, full: int) -> Spread:
    """Kill two of five workers in each round, the one that runs most tasks first."""
    chance = random.Random(1)
    with Stage({**settings, "concurrency": 200}, workers=5) as stage:
        for number in session.rounds(small, full):
            ids = stage.submit("sleep", [f"k{number}-{one}" for one in range(50)], 600)
            stage.wait(lambda ids=ids: stage.are(ids, "RUNNING"))
            owners = stage.owners(ids)
            running = list(owners.values())
            victims = sorted(set(running), key=running.count, reverse=True)
            for victim in victims[:2]:
                stage.record("kill", pid=victim.pid, slot=victim.number)
                victim.kill()
                mine = [one for one in ids if owners[one] is victim]
                # The second one dies at another moment of the Monitor's round.
                time.sleep(chance.uniform(0.0, 1.0))
                stage.wait(lambda mine=mine: all(stage.attempts(one) == 2 for one in mine))
            stage.remove(ids)
            stage.wait(lambda: len(stage.admin.living()) == 5)
        return Spread.of(one.seconds for one in find_recoveries(stage.evidence()))


def recovery_default(session: Session) -> list[Row]:
    """kill -9 of a worker until its tasks run again, default settings."""
    spread = _recover(session, {"max_reaps": 50}, 2, 7)
    return [
        Row(
            "kill -9 of a worker until its tasks run again, default settings",
            spread.text(),
            "p99 < 8 s",
            "60 s (streaQ, TaskTiger, Dramatiq), 30 to 60 s (BullMQ), 1 h (Celery, Oban, River)",
            spread.p99 < 8.0,
            spread.to_values(),
        )
    ]


def recovery_short(session: Session) -> list[Row]:
    """The same with worker_timeout=1."""
    spread = _recover(session, SHORT, 4, 12)
    return [
        Row(
            "the same with worker_timeout=1",
            spread.text(),
            "p99 < 2.5 s",
            "not offered",
            spread.p99 < 2.5,
            spread.to_values(),
        )
    ]


def sigterm(session: Session) -> list[Row]:
    """SIGTERM: from requeue to the start in another worker."""
    with Stage({"concurrency": 100}, workers=3) as stage:
        for number in session.rounds(5, 20):
            ids = stage.submit("sleep", [f"t{number}-{one}" for one in range(30)], 600)
            stage.wait(lambda ids=ids: stage.are(ids, "RUNNING"))
            victim = stage.busiest(ids)
            starts = victim.starts
            stage.record("term", pid=victim.pid)
            victim.signal(15)
            stage.wait(lambda victim=victim, starts=starts: victim.starts > starts)
            stage.wait(lambda ids=ids: stage.are(ids, "RUNNING"))
            stage.remove(ids)
            stage.wait(lambda: len(stage.admin.living()) == 3)
        audit = stage.evidence().audit
        signals = [event["wall"] for event in stage.events("term")]
    spread = Spread.of(between(audit, "requeue", "claim"))
    given_back = {entry["i"] for entry in audit if entry["s"] == "requeue"}
    last: dict[str, float] = {}
    for entry in audit:
        if entry["s"] == "claim" and entry["i"] in given_back:
            kill = entry["i"].partition("-")[0]
            last[kill] = max(last.get(kill, 0.0), entry["at"])
    whole = Spread.of(at - signals[int(kill[1:])] for kill, at in last.items())
    return [
        Row(
            "SIGTERM: from requeue to the start in another worker",
            f"{spread.text('ms', 0)}; from the signal to the last start {whole.text('ms', 0)}",
            "p99 < 100 ms",
            "Celery and Sidekiq push back, no figure",
            spread.p99 < 0.1,
            {**spread.to_values(), "from_signal": whole.to_values()},
        )
    ]


def zombies(session: Session) -> list[Row]:
    """Writes of workers that were taken for dead and came back."""
    refused = accepted = outcomes = rounds = 0
    settings = {**SHORT, "concurrency": 300, "claim_batch": 100, "max_reaps": 1000}
    wanted = session.pick(1_000, 2_000)
    with Stage(settings, workers=3) as stage:
        while outcomes < wanted and rounds < 30:
            session.tell(f"{outcomes:,} of {wanted:,}")
            rounds += 1
            ids = stage.submit("sleep", [f"z{rounds}-{one}" for one in range(600)], 1.2)
            stage.wait(lambda ids=ids: all(stage.attempts(one) for one in ids))
            owners = stage.owners(ids)
            victim = max(stage.fleet.workers, key=list(owners.values()).count)
            mine = [one for one in ids if owners[one] is victim]
            victim.pause()
            stage.wait(lambda mine=mine: all(stage.attempts(one) != 1 for one in mine))
            victim.resume()
            stage.wait(lambda: not stage.admin.left())
            stage.wait(lambda: len(stage.admin.living()) == 3)
            codes = stage.admin.read_codes()
            outcomes = sum(codes[f"finish:{code}"] for code in REFUSALS)
        refused = sum(codes[f"{verb}:{code}"] for verb in VERBS for code in REFUSALS)
        for entry in stage.evidence().audit:
            stranger = entry["s"] in VERBS and entry.get("c") != entry.get("r")
            accepted += stranger and (entry["t"] != entry["f"] or bool(entry.get("a")))
    return [
        Row(
            "writes of runs that had lost their task: accepted",
            f"{accepted} of {refused + accepted:,} tried ({outcomes:,} of them outcomes)",
            "0 of at least 1,000 outcomes",
            "not fenced (Oban, Faktory, arq, SAQ, Celery)",
            accepted == 0 and outcomes >= 1_000,
            {"accepted": accepted, "tried": refused + accepted, "outcomes": outcomes},
        )
    ]


#: The writes of an owner.
VERBS = ("finish", "requeue", "heartbeat")


def cpu_hog(session: Session) -> list[Row]:
    """A task that computes for 60 s beside 1,000 others: leases lost."""
    seconds = session.pick(15.0, 60.0)
    with Stage({"concurrency": 1100}, workers=2) as stage:
        # More than both have room for less a hundred each: whoever gets the hog has 1,000.
        ids = stage.submit("sleep", [f"h{one}" for one in range(2150)], 600)
        stage.wait(lambda: stage.are(ids, "RUNNING"))
        stage.submit("hog", ["hog"], seconds)
        stage.wait(lambda: stage.states(["hog"]) == ["RUNNING"])
        worker = stage.admin.store.read_fields("hog", ["worker"])[0]
        beside = sum(stage.admin.store.read_fields(one, ["worker"])[0] == worker for one in ids)
        deadline = time.monotonic() + seconds + 30
        while stage.states(["hog"]) != [None]:
            session.tell(f"{seconds:g} s in all")
            assert time.monotonic() < deadline, "the hog does not end"
            time.sleep(0.5)
        time.sleep(2.0)  # what was lost at the end is noticed by then
        codes = stage.evidence().codes
        spans = {name: stage.events(name) for name in ("start", "effect")}
    began, ended = (
        next(one["wall"] for one in spans[name] if one["id"] == "hog") for name in spans
    )
    took = ended - began
    lost = sum(codes[name] for name in ("reap:1", "reap:3", "reap:4", "heartbeat:-2"))
    return [
        Row(
            "leases lost beside a task that computes without giving way (hub_stall_timeout=60)",
            f"{lost} of {beside:,} in {took:.1f} s",
            "0 of 1,000 in 60 s",
            "stalled after 30 s (BullMQ)",
            lost == 0 and beside >= 1_000 and took >= seconds,
            {"lost": lost, "beside": beside, "seconds": took},
        )
    ]


def poison(session: Session) -> list[Row]:
    """A task that kills its worker among 100 that do not."""
    limit = 3
    settings = {**FAST, "concurrency": 100, "claim_batch": 200, "max_reaps": limit}
    costs: list[int] = []
    good: list[str] = []
    with Stage(settings, workers=4) as stage:
        for member in stage.fleet.workers:
            member.may_end_with.add(-9)
        for number in session.rounds(2, 6):
            others = [f"g{number}-{one}" for one in range(99)]
            tasks = [NewTask(one, "chaos/sleep", to_json({"seconds": 0.3})) for one in others]
            # In the middle, so that one claim takes it together with the others.
            tasks.insert(50, NewTask(f"p{number}", "chaos/poison", b"{}"))
            stage.enqueue(tasks)
            stage.wait(lambda: not stage.admin.left(), 120)
            stage.wait(lambda: len(stage.admin.living()) == 4)
            good += others
            costs.append(sum(event["id"] == f"p{number}" for event in stage.events("start")))
        audit = stage.evidence().audit
        starts = Counter(event["id"] for event in stage.events("start"))
    lost = sorted(set(good) - {one["i"] for one in audit if one["t"] == "SUCCESS"})
    again = sum(starts[one] > 1 for one in good)
    # On a machine that stands still for seconds, living workers are taken for dead as well.
    gone = {one["k"]["worker"] for one in audit if one["s"] == "reap"}
    mistaken = max(0, len(gone) - sum(costs))
    note = f"; {mistaken} living workers were taken for dead" if mistaken else ""
    return [
        Row(
            f"a task that kills its worker, among 99 others: workers it costs (max_reaps={limit}); "
            "others that are lost",
            f"{max(costs)} at most in {len(costs)} rounds; {len(lost)} of {len(good)} "
            f"({again} ran again{note})",
            "max_reaps; 0",
            "without end (Dramatiq PR #383)",
            max(costs) <= limit and not lost,
            {"workers": costs, "lost": lost, "again": again, "mistaken": mistaken},
        )
    ]
