"""S1: each due time of a schedule started one task, and none was left out in between."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from .evidence import NONE, Evidence, Violation
from .track import Track

#: How the chaos task that starts by itself is declared.
RUN_EVERY = 0.5


def is_scheduled(track: Track) -> bool:
    """Whether a schedule started this task."""
    return any(entry["s"] == "schedule_tick" for entry in track.history)


def check_schedules(
    evidence: Evidence, tracks: dict[str, Track], numbers: Counter[str]
) -> Iterator[Violation]:
    """Yield due times that started no task, or more than one.

    What Redis lost it lost together with the due time, so that it started the task once more; two
    starts count as wrong only where nothing can be lost.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for track in tracks.values():
        starts = [one for one in track.history if one["s"] == "schedule_tick" and one["f"] == NONE]
        if not starts:
            continue
        numbers["scheduled"] += 1
        name, _, text = track.task_id.partition("@")
        found[name].append(datetime.fromisoformat(text.partition("~")[0]).timestamp())
        if len(starts) > 1 and not evidence.rollbacks:
            yield Violation("S1", track.task_id, f"was started {len(starts)} times")
    for name, times in found.items():
        times.sort()
        for earlier, later in pairwise(times):
            if abs(later - earlier - RUN_EVERY) > 0.001:
                text = f"nothing was started between {earlier:.3f} and {later:.3f}"
                yield Violation("S1", name, text)
