"""Measures what users ask about: how soon things go on, and what is done twice or refused.

``python -m tests.chaos.numbers [NAME ...] [--size full]`` writes ``numbers.json`` for the report.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from .checker.evidence import Entry
from .checker.liveness import find_recoveries, quantile
from .options import FAST
from .stage import Stage

Row = dict[str, str]

#: Heartbeats and time-outs as short as settings that suit a good network.
SHORT: dict[str, Any] = {
    **FAST,
    "worker_timeout": 1.0,
    "redis_grace": 0.7,
    "beat_interval": 0.2,
    "update_task_interval": 0.4,
    "task_timeout": 2.0,
    "max_reaps": 50,
}


def seconds_of(values: list[float], unit: float = 1.0, digits: int = 2) -> str:
    """Return median, 99 % and longest as text; ``unit`` 1000 makes it milliseconds."""
    ordered = sorted(values)
    parts = (quantile(ordered, 0.5), quantile(ordered, 0.99), ordered[-1])
    name = "ms" if unit == 1000 else "s"
    text = " / ".join(f"{part * unit:.{digits}f}" for part in parts)
    return f"{text} {name} (p50 / p99 / max of {len(ordered)})"


def row(what: str, measured: str, aim: str, elsewhere: str) -> Row:
    return {"what": what, "measured": measured, "aim": aim, "elsewhere": elsewhere}


def _recover(settings: dict[str, Any], kills: int) -> list[float]:
    with Stage({**settings, "concurrency": 200}, workers=3) as stage:
        for number in range(kills):
            ids = stage.submit("sleep", [f"k{number}-{one}" for one in range(30)], 600)
            stage.wait(lambda ids=ids: stage.are(ids, "RUNNING"))
            victim = stage.busiest(ids)
            mine = [
                one
                for one in ids
                if stage.member_of(stage.admin.store.read_fields(one, ["worker"])[0]) is victim
            ]
            stage.record("kill", pid=victim.pid, slot=victim.number)
            victim.kill()

            def again(mine: list[str] = mine) -> bool:
                fields = [stage.admin.store.read_fields(one, ["attempts", "state"]) for one in mine]
                return all(one == ["2", "RUNNING"] for one in fields)

            stage.wait(again)
            stage.remove(ids)
        return [one.seconds for one in find_recoveries(stage.evidence())]


def recovery_default(size: int) -> Row:
    gaps = _recover({"max_reaps": 50}, 4 * size)
    return row(
        "kill -9 of a worker until its tasks run again, default settings",
        seconds_of(gaps),
        "p99 < 8 s",
        "60 s (streaQ, TaskTiger, Dramatiq), 30 to 60 s (BullMQ), 1 h (Celery, Oban, River)",
    )


def recovery_short(size: int) -> Row:
    gaps = _recover(SHORT, 8 * size)
    return row(
        "the same with worker_timeout=1",
        seconds_of(gaps),
        "p99 < 2.5 s",
        "not offered",
    )


def sigterm(size: int) -> Row:
    gaps: list[float] = []
    with Stage({"concurrency": 100}, workers=2) as stage:
        for number in range(4 * size):
            ids = stage.submit("sleep", [f"t{number}-{one}" for one in range(20)], 600)
            stage.wait(lambda ids=ids: stage.are(ids, "RUNNING"))
            victim = stage.busiest(ids)
            starts = victim.starts
            victim.signal(15)
            stage.wait(lambda victim=victim, starts=starts: victim.starts > starts)
            stage.wait(lambda ids=ids: stage.are(ids, "RUNNING"))
            stage.wait(lambda: len(stage.admin.living()) == 2)
            stage.remove(ids)
        gaps = _between(stage.evidence().audit, "requeue", "claim")
    return row(
        "SIGTERM: from requeue to the start in another worker",
        seconds_of(gaps, 1000, 0),
        "100 ms",
        "Celery and Sidekiq push back, no figure",
    )


def _between(entries: list[Entry], first: str, second: str) -> list[float]:
    since: dict[str, float] = {}
    gaps = []
    for entry in entries:
        if entry["s"] == first:
            since[entry["i"]] = entry["at"]
        elif entry["s"] == second and entry["i"] in since:
            gaps.append(entry["at"] - since.pop(entry["i"]))
    return gaps


def stop_latency(size: int) -> Row:
    with Stage({"concurrency": 500}, workers=1) as stage:
        ids = stage.submit("service", [f"s{one}" for one in range(200 * size)])
        stage.wait(lambda: stage.are(ids, "RUNNING"))
        for one in ids:
            stage.admin.store.stop(one)
            time.sleep(0.005)
        stage.wait(lambda: stage.are(ids, "STOPPED"))
        gaps = _between(stage.evidence().audit, "stop", "finish")
    return row(
        "stop of a running service until it is STOPPED",
        seconds_of(gaps, 1000, 0),
        "p99 < 20 ms",
        "at the next heartbeat (Temporal)",
    )


def stop_without_pubsub(size: int) -> Row:
    """The request is written down and not published, as if every message were lost."""
    asked: dict[str, float] = {}
    with Stage({"concurrency": 500}, workers=1) as stage:
        ids = stage.submit("service", [f"s{one}" for one in range(40 * size)])
        stage.wait(lambda: stage.are(ids, "RUNNING"))
        for one in ids:
            stage.admin.execute("HSET", f"task-{one}", "control", "stop")
            asked[one] = time.time()
            time.sleep(0.1)
        stage.wait(lambda: stage.are(ids, "STOPPED"))
        gaps = [
            entry["at"] - asked[entry["i"]]
            for entry in stage.evidence().audit
            if entry["s"] == "finish" and entry["i"] in asked
        ]
    return row(
        "the same with pub/sub dead (update_task_interval=5)",
        seconds_of(gaps),
        "one heartbeat, 5 s",
        "never (pub/sub only)",
    )


def redis_restart(size: int) -> Row:
    gaps = []
    with Stage({**FAST, "concurrency": 20}, workers=2) as stage:
        server = stage.target.nodes[0]
        for number in range(8 * size):
            stage.submit("sleep", [f"r{number}-{one}" for one in range(400)], 0.2)
            time.sleep(0.5)
            server.kill()
            time.sleep(0.5)
            server.start()
            back = time.time()
            stage.wait(lambda: not stage.admin.left())
            stage.admin.drain_audit()
            claims = [one["at"] for one in stage.admin.read_audit() if one["s"] == "claim"]
            gaps.append(min(at for at in claims if at > back - 0.05) - back)
    return row(
        "Redis kill -9 and restart: from PONG to the first claim",
        seconds_of([max(0.0, gap) for gap in gaps]),
        "p99 < 1 s",
        "may hang for ever (celery #10205)",
    )


def _cluster_gaps(times: int, disturb: Callable[[Any, Any], None]) -> list[float]:
    gaps = []
    with Stage({**FAST, "concurrency": 30}, workers=2, topology="cluster") as stage:
        cluster: Any = stage.target.cluster  # type: ignore[attr-defined]
        for number in range(times):
            owner = cluster.owner_of("{0}")
            streams = {
                f"audit{{{one}}}"
                for one in range(stage.target.partitions)
                if cluster.owner_of(f"{{{one}}}") is owner
            }
            stage.submit("sleep", [f"c{number}-{one}" for one in range(4000)], 0.1)
            time.sleep(1.0)
            at = time.time()
            disturb(cluster, owner)
            stage.wait(lambda: not stage.admin.left(), 120)
            cluster.wait_agreement()
            claims = sorted(
                one["at"]
                for one in stage.admin.read_audit()
                if one["s"] == "claim" and one["stream"] in streams and one["at"] > at - 0.5
            )
            stage.admin.forget_audit()
            later = pairwise(claims)
            gaps.append(max(after - before for before, after in later if before < at + 10))
    return gaps


def _kill_master(cluster: Any, owner: Any) -> None:
    owner.kill()
    cluster.wait_promoted(owner)
    owner.start()


def master_killed(size: int) -> Row:
    gaps = _cluster_gaps(3 * size, _kill_master)
    return row(
        "Cluster master kill -9 (node timeout 1 s): longest pause of its partitions",
        seconds_of(gaps),
        "node timeout + 3 s",
        "node timeout + 1 to 2 s until Redis has failed over",
    )


def manual_failover(size: int) -> Row:
    gaps = _cluster_gaps(
        3 * size, lambda cluster, owner: cluster.failover(cluster.replicas_of(owner)[0])
    )
    return row(
        "Cluster failover by hand: longest pause of its partitions",
        seconds_of(gaps),
        "0.2 s",
        "not published",
    )


def duplicates(size: int) -> Row:
    count = 20_000 if size == 1 else 1_000_000
    with Stage({"concurrency": 1000}, workers=2) as stage:
        for start in range(0, count, 10_000):
            stage.submit("quick", [f"d{one}" for one in range(start, start + 10_000)])
            stage.wait(lambda: not stage.admin.left(), 300)
            stage.admin.drain_audit()
        evidence = stage.evidence()
        starts = [event["id"] for event in evidence.history if event["ev"] == "start"]
    return row(
        "tasks started more than once without faults",
        f"{len(starts) - len(set(starts))} of {len(set(starts)):,}",
        "0 of 1,000,000",
        "not published",
    )


def cpu_hog(size: int) -> Row:
    seconds = 15.0 if size == 1 else 55.0
    with Stage({"concurrency": 1100}, workers=2) as stage:
        ids = stage.submit("service", [f"h{one}" for one in range(1000)])
        stage.wait(lambda: stage.are(ids, "RUNNING"))
        stage.submit("hog", ["hog"], seconds)
        stage.wait(lambda: stage.states(["hog"]) == ["RUNNING"])
        stage.wait(lambda: stage.states(["hog"]) == [None], seconds + 30)
        codes = stage.evidence().codes
    lost = sum(codes[name] for name in ("reap:1", "reap:3", "reap:4", "heartbeat:-2"))
    return row(
        f"leases lost by 1,000 services beside a task that computes for {seconds:g} s",
        str(lost),
        "0",
        "stalled after 30 s (BullMQ)",
    )


def poison(size: int) -> Row:
    with Stage(FAST, workers=2) as stage:
        for member in stage.fleet.workers:
            member.may_end_with.add(-9)
        good = stage.submit("sleep", [f"g{one}" for one in range(500)], 0.3)
        bad = stage.submit("poison", [f"p{one}" for one in range(3)])
        stage.wait(lambda: not stage.admin.left(), 120)
        evidence = stage.evidence()
        starts = [event["id"] for event in evidence.history if event["ev"] == "start"]
        reaped = {one: starts.count(one) for one in bad}
        done = {entry["i"] for entry in evidence.audit if entry["t"] == "SUCCESS"}
    return row(
        "a task that kills its worker: workers it costs (max_reaps=4); good tasks that end beside",
        f"{max(reaped.values())}; {len(done & set(good))} of {len(good)}, the others dead letters",
        "max_reaps; all",
        "without end (Dramatiq PR #383)",
    )


ALL: list[Callable[[int], Row]] = [
    recovery_default,
    recovery_short,
    sigterm,
    redis_restart,
    master_killed,
    manual_failover,
    stop_latency,
    stop_without_pubsub,
    cpu_hog,
    poison,
    duplicates,
]


def main(words: list[str]) -> int:
    """Measure, and write what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.numbers", description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(one.__name__ for one in ALL))
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument("--keep", default="chaos-results/numbers.json")
    choices = parser.parse_args(words)
    path = Path(choices.keep)
    known = {one["what"]: one for one in json.loads(path.read_text())} if path.exists() else {}
    for measure in ALL:
        if choices.names and measure.__name__ not in choices.names:
            continue
        found = measure(1 if choices.size == "small" else 5)
        known[found["what"]] = found
        sys.stdout.write(f"{found['what']}: {found['measured']} (aim {found['aim']})\n")
        sys.stdout.flush()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(known.values()), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
