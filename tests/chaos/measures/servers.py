"""How soon work goes on when a server goes or hands over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from ..admin import save
from ..bystander import KINDS
from ..fleet import Member
from ..options import FAST
from ..stage import Stage
from .base import Row, Session, Spread

#: A shard whose tasks are so short, and so many, that the starts of two of them are close.
BUSY = {**FAST, "concurrency": 20, "claim_batch": 4}
#: Seconds of one task, and how many are enqueued for one disturbance.
TASK_SECONDS = 0.02
#: Seconds of Redis Cluster until a silent node is held for dead, as set by the target.
NODE_TIMEOUT = 1.0


def redis_restart(session: Session) -> list[Row]:
    """Redis kill -9 and restart: until the first claim."""
    gaps = []
    # With everysec a busy disk may cost the work that there is to go on with.
    settings = {**FAST, "concurrency": 20}
    with Stage(settings, workers=2, appendfsync="always") as stage:
        server = stage.target.nodes[0]
        for number in session.rounds(8, 30):
            stage.submit("sleep", [f"r{number}-{one}" for one in range(200)], 0.2)
            time.sleep(0.3)
            server.kill()
            time.sleep(0.5)
            server.start()
            back = time.time()
            stage.wait(lambda: not stage.admin.left())
            claims = [one["at"] for one in stage.admin.read_audit() if one["s"] == "claim"]
            stage.admin.forget_audit()
            gaps.append(max(0.0, min(at for at in claims if at > back - 0.05) - back))
    spread = Spread.of(gaps)
    return [
        Row(
            "Redis kill -9 and restart: from PONG to the first claim",
            spread.text(),
            "p99 < 1 s",
            "may hang for ever (celery #10205)",
            spread.p99 < 1.0,
            spread.to_values(),
        )
    ]


class Shard:
    """One master of a cluster with its replica, watched from three sides.

    Pytask's workers run short tasks on it. Beside them two bystanders write: a bare redis-py
    client, and one that shows what the servers themselves need.
    """

    def __init__(self, stage: Stage, tasks: int) -> None:
        self._stage = stage
        self._tasks = tasks
        self.cluster: Any = stage.target.cluster  # type: ignore[attr-defined]
        self._place = 0
        self._owner()
        nodes = [self.owner, *self.cluster.replicas_of(self.owner)]
        config = stage.directory / "bystander.json"
        save(
            config,
            {
                "directory": str(stage.events_in),
                "key": f"bystander{{{self.partitions[0]}}}",
                "nodes": [list(node.address) for node in nodes],
            },
        )
        for number in range(len(KINDS)):
            member = Member("bystander", number, config, stage.directory)
            member.may_end_with.add(-9)
            stage.join(member)
        stage.wait(lambda: len(stage.events("ready")) == len(KINDS))

    def _owner(self) -> None:
        self.owner = self.cluster.owner_of(f"{{{self._place}}}")
        self.partitions = [
            one
            for one in range(self._stage.target.partitions)
            if self.cluster.owner_of(f"{{{one}}}") is self.owner
        ]

    def _ids(self, number: int) -> Iterator[str]:
        found = one = 0
        while found < self._tasks:
            name = f"c{number}-{one}"
            one += 1
            if self._stage.admin.keys.partition_of(name) in self.partitions:
                found += 1
                yield name

    def disturb(self, number: int, how: Callable[[Any, Any], None]) -> dict[str, float]:
        """Do something to its master; returns the longest pause for each side."""
        stage = self._stage
        self._owner()
        streams = {f"audit{{{one}}}" for one in self.partitions}
        stage.submit("sleep", self._ids(number), TASK_SECONDS)
        time.sleep(0.7)
        at = time.time()
        how(self.cluster, self.owner)
        stage.wait(lambda: not stage.admin.left(), 120)
        self.cluster.wait_agreement()
        # First attempts only: those tasks wait all the time. A run that Redis rolled back in its
        # middle is taken back by and by, and says nothing about the pause.
        claims = sorted(
            one["at"]
            for one in stage.admin.read_audit()
            if one["s"] == "claim" and one["stream"] in streams and one["a"]["attempts"] == "1"
        )
        stage.admin.forget_audit()
        assert claims[0] < at < claims[-1], "there were not enough tasks"
        gaps = {"pytask": max(after - before for before, after in pairwise(claims))}
        gaps["before"] = max(after - before for before, after in pairwise(claims) if after < at)
        for kind in KINDS:
            told = [one for one in stage.events("gap") if one["kind"] == kind]
            gaps[kind] = max((one["seconds"] for one in told if one["wall"] >= at), default=0.0)
        return gaps


def _watch(
    session: Session, small: int, full: int, tasks: int, how: Callable[[Any, Any], None]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with Stage(BUSY, workers=2, topology="cluster") as stage:
        shard = Shard(stage, tasks)
        for number in session.rounds(small, full):
            for side, seconds in shard.disturb(number, how).items():
                found.setdefault(side, []).append(seconds)
    return found


def _beside(found: dict[str, list[float]]) -> str:
    """Return the medians of the others, which went through the same."""
    servers, client = (Spread.of(found[kind]).p50 for kind in ("servers", "redis-py"))
    return f"; beside it p50 {servers:.2f} s for the servers alone, {client:.2f} s with redis-py"


def _pause_row(
    what: str,
    found: dict[str, list[float]],
    aim: str,
    elsewhere: str,
    bound: Callable[[Spread], bool],
) -> Row:
    """Return the row of a pause, beside those of the others."""
    spread = Spread.of(found["pytask"])
    return Row(
        f"{what}: longest pause of its partitions",
        spread.text() + _beside(found),
        aim,
        elsewhere,
        bound(spread),
        {**spread.to_values(), "all": found},
    )


def _kill_master(cluster: Any, owner: Any) -> None:
    owner.kill()
    cluster.wait_promoted(owner)
    owner.start()


def master_killed(session: Session) -> list[Row]:
    """Cluster master kill -9: longest pause of its partitions."""
    return [
        _pause_row(
            "Cluster master kill -9 (node timeout 1 s)",
            _watch(session, 3, 8, 6000, _kill_master),
            "node timeout + 3 s",
            "node timeout + 1 to 2 s until Redis has failed over",
            lambda spread: spread.longest < NODE_TIMEOUT + 3.0,
        )
    ]


def _fail_over(cluster: Any, owner: Any) -> None:
    cluster.failover(cluster.replicas_of(owner)[0])


def manual_failover(session: Session) -> list[Row]:
    """Cluster failover by hand: longest pause of its partitions."""
    return [
        _pause_row(
            "Cluster failover by hand",
            _watch(session, 4, 15, 2500, _fail_over),
            "p50 0.2 s",
            "not published",
            lambda spread: spread.p50 < 0.2,
        )
    ]
