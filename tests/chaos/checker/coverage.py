"""A run that exercised too little proves nothing, and fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

#: What a run of a minute or more must have seen at least once.
ALWAYS = (
    "fenced_finishes",
    "repeats",
    "reaps",
    "run_again",
    "unknown",
    "stops",
    "restarts",
    "reloads",
    "handled",
    "kept",
    "in_children",
    "plug_ins_told",
    "retries",
    "timed_out",
    "scheduled",
    "flushed",
)
#: Answers that must have been given: the repeat of a call that had been carried out.
REPEATS = ("claim:repeat", "finish:2", "enqueue:2")
#: A run of ten minutes: faults in all, of each kind, and tasks.
LONG_SECONDS = 600
LONG_FAULTS, LONG_EACH, LONG_TASKS, LONG_RETRIES = 1_000, 5, 100_000, 1_000


def check_coverage(
    seconds: float,
    kinds: Iterable[str],
    faults: Counter[str],
    numbers: Counter[str],
    codes: Counter[str],
) -> Iterator[str]:
    """Yield what was exercised too little.

    Args:
        seconds: How long faults were injected.
        kinds: The faults there are for this topology.
        faults: How often each was injected.
        numbers: What the checker counted.
        codes: How often each script answered what.
    """
    if seconds < 60:
        return
    for name in ALWAYS:
        if not numbers[name]:
            yield f"too little: no {name.replace('_', ' ')}"
    if not any(codes[name] for name in REPEATS):
        yield f"too little: none of the answers {', '.join(REPEATS)}"
    each = LONG_EACH if seconds >= LONG_SECONDS else 1
    rare = [kind for kind in kinds if faults[kind] < each]
    # A fault may be impossible at its moment; on the whole all kinds have to come.
    if len(rare) > (0 if seconds >= LONG_SECONDS else 3):
        yield f"too little: fewer than {each} of {', '.join(rare)}"
    if seconds >= LONG_SECONDS:
        if faults.total() < LONG_FAULTS:
            yield f"too little: {faults.total()} faults, {LONG_FAULTS} are wanted"
        if numbers["acknowledged"] < LONG_TASKS:
            yield f"too little: {numbers['acknowledged']} tasks, {LONG_TASKS} are wanted"
        if numbers["retries"] < LONG_RETRIES:
            yield f"too little: {numbers['retries']} retries, {LONG_RETRIES} are wanted"
