"""How soon a task that runs is stopped."""

from __future__ import annotations

import time

from ..stage import Stage
from .base import Row, Session, Spread, between

#: Default of update_task_interval.
HEARTBEAT = 5.0


def stop_latency(session: Session) -> list[Row]:
    """Stop of a running service until it is STOPPED."""
    with Stage({"concurrency": 500}, workers=1) as stage:
        for number in session.rounds(2, 10):
            ids = stage.submit("service", [f"s{number}-{one}" for one in range(100)])
            stage.wait(lambda ids=ids: stage.are(ids, "RUNNING"))
            for one in ids:
                stage.admin.store.stop(one)
                time.sleep(0.005)
            stage.wait(lambda ids=ids: stage.are(ids, "STOPPED"))
        spread = Spread.of(between(stage.evidence().audit, "stop", "finish"))
    return [
        Row(
            "stop of a running service until it is STOPPED",
            spread.text("ms", 0),
            "p99 < 20 ms",
            "at the next heartbeat (Temporal)",
            spread.p99 < 0.02,
            spread.to_values(),
        )
    ]


def stop_without_pubsub(session: Session) -> list[Row]:
    """The same with pub/sub dead."""
    # The request is written down and not published, as if every message were lost.
    asked: dict[str, float] = {}
    with Stage({"concurrency": 500}, workers=1) as stage:
        ids = stage.submit("service", [f"s{one}" for one in range(session.pick(50, 200))])
        stage.wait(lambda: stage.are(ids, "RUNNING"))
        for one in ids:
            session.tell(f"{len(asked)} of {len(ids)}")
            stage.admin.execute("HSET", f"task-{one}", "control", "stop")
            asked[one] = time.time()
            time.sleep(0.08)
        stage.wait(lambda: stage.are(ids, "STOPPED"))
        spread = Spread.of(
            entry["at"] - asked[entry["i"]]
            for entry in stage.evidence().audit
            if entry["s"] == "finish" and entry["i"] in asked
        )
    return [
        Row(
            "the same with pub/sub dead (update_task_interval=5)",
            spread.text(),
            "one heartbeat, 5 s",
            "never (pub/sub only)",
            spread.longest < HEARTBEAT,
            spread.to_values(),
        )
    ]
