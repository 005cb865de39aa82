"""What many tasks without any fault come to: nothing twice, nothing left behind."""

from __future__ import annotations

import time
from itertools import combinations
from statistics import median

from ..stage import Stage
from .base import Row, Session
from .traffic import Traffic

#: Tasks per enqueue, and most of them waiting at a time.
BATCH, BACKLOG = 5_000, 40_000
#: Growth of one worker that is put down to noise, in MB per 100,000 tasks.
MOST_GROWTH = 1.0


def duplicates(session: Session) -> list[Row]:
    """Tasks started more than once without faults."""
    count = session.pick(100_000, 1_000_000)
    with Stage({"concurrency": 1000}, workers=2, audited=False) as stage:
        began = time.monotonic()
        for start in range(0, count, BATCH):
            session.tell(f"{start:,} of {count:,}")
            stage.submit("tally", [f"d{one}" for one in range(start, start + BATCH)])
            stage.wait(lambda: stage.admin.store.count()["waiting"] < BACKLOG, 300)
        stage.wait(lambda: not stage.admin.left(), 300)
        seconds = time.monotonic() - began
        starts = bytearray(count)
        for number in stage.tallies():
            starts[number] = min(255, starts[number] + 1)
    never, twice = starts.count(0), count - starts.count(0) - starts.count(1)
    return [
        Row(
            "tasks started more than once, or never, without faults",
            f"{twice} and {never} of {count:,} (in {seconds:.0f} s)",
            "0 of 1,000,000",
            "not published",
            twice == 0 and never == 0,
            {"twice": twice, "never": never, "of": count, "seconds": seconds},
        )
    ]


def soak(session: Session) -> list[Row]:
    """Growth of worker and Redis under starts, stops, reloads, restarts and expiries."""
    warm_up, rounds = session.pick((8, 14), (12, 40))
    settings = {"concurrency": 500, "keep_failed": 0.5}
    with Stage(settings, workers=2, audited=False) as stage, Traffic(stage) as traffic:
        sizes: list[list[float]] = [[] for _ in stage.fleet.workers]
        keys: list[set[str]] = []
        # Without connections: a pool keeps as many as were ever needed at the same time.
        descriptors: list[int] = []
        for number in range(warm_up + rounds):
            session.tell(f"{number} of {warm_up + rounds} rounds of {traffic.SIZE:,} tasks")
            traffic.run(number)
            if number >= warm_up - 1:
                keys.append(traffic.quiet())
                opened = sum(one.descriptors() for one in stage.fleet.workers)
                descriptors.append(opened - traffic.connections())
                for values, member in zip(sizes, stage.fleet.workers, strict=True):
                    values.append(member.rss() / 1024)
        acted = traffic.acted
        began = [values[0] for values in sizes]
    per_round = traffic.SIZE / 100_000 / len(sizes)
    slopes = [slope(values) / per_round for values in sizes]
    left = keys[-1] - keys[0]
    tasks = rounds * traffic.SIZE
    shown = ", ".join(f"{name} {count:,}" for name, count in sorted(acted.items()))
    return [
        Row(
            f"memory of a worker over {tasks:,} tasks after {warm_up * traffic.SIZE:,} ({shown})",
            f"{max(slopes):+.2f} MB per 100,000 tasks of one worker (at {max(began):.0f} MB)",
            f"< {MOST_GROWTH:g} MB per 100,000",
            "not published",
            max(slopes) < MOST_GROWTH and descriptors[-1] <= descriptors[0],
            {"slopes": slopes, "rss": sizes, "descriptors": descriptors},
        ),
        Row(
            "keys in Redis that are left behind by these",
            f"{len(left)} (there are {len(keys[-1])})",
            "0",
            "not published",
            not left,
            {"left": sorted(left)[:50], "counts": [len(one) for one in keys]},
        ),
    ]


def slope(values: list[float]) -> float:
    """Return the growth per step: the median of that between any two values.

    A leak makes all of them grow; the page or the pool that grows once does not change the median.
    """
    pairs = combinations(enumerate(values), 2)
    return median((late - early) / (after - before) for (before, early), (after, late) in pairs)
