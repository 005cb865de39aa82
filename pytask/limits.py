"""Which permits a task needs before it may run, by its policy and its data.

A limit is a pool of permits in Redis that all workers share. A task class with ``max_concurrency``
has one, and so has each key whose tasks must not overlap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from pytask.exceptions import UnfitTask
from pytask.policy import Policy

#: Longest key that stands in the name of a pool as it is, in characters.
LONGEST_KEY = 200


class Limit(NamedTuple):
    """A limit one task is under.

    Attributes:
        pool: The name of its pool.
        most: How many permits there are.
        text: What it says, for a task that it refuses.
    """

    pool: str
    most: int
    text: str


def may_be_limited(policy: Policy) -> bool:
    """Tell whether tasks of a policy can be under any limit; the rest need not be looked at."""
    return policy.max_concurrency > 0 or policy.can_overlap is not True


def limits_of(task: str, policy: Policy, data: Mapping[str, Any]) -> list[Limit]:
    """Return the limits a task is under; the one that concerns the fewest tasks first.

    Args:
        task: Its name.
        policy: What holds for it.
        data: What its ``__init__`` is given.

    Raises:
        UnfitTask: ``can_overlap`` returned no usable key.
        Exception: What ``can_overlap`` raised.
    """
    found = []
    overlap = policy.can_overlap
    key = overlap(**data) if callable(overlap) else overlap
    if key is not True:
        found.append(_overlap_limit(task, key))
    if policy.max_concurrency:
        most = policy.max_concurrency
        text = f"max_concurrency={most}: as many {task!r} tasks as may run at a time are running"
        found.append(Limit(f"limit:{_quoted(task)}", most, text))
    return found


def pool_of_lock(name: str) -> str:
    """Return the name of the pool behind a lock."""
    return f"lock:{name}"


def _overlap_limit(task: str, key: Any) -> Limit:
    pool = f"overlap:{_quoted(task)}"
    if key is False:
        return Limit(pool, 1, f"can_overlap=False: another {task!r} task is running")
    if not isinstance(key, str | int):
        raise UnfitTask(
            f"can_overlap of {task!r} returned {key!r}: True, False, or a text or number as the "
            "key is needed"
        )
    text = f"can_overlap: another {task!r} task with the key {key!r} is running"
    name = str(key)
    if len(name) > LONGEST_KEY or not name.isprintable():
        name = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return Limit(f"{pool}:{name}", 1, text)


def _quoted(task: str) -> str:
    # What follows a colon is a key; a name with one in it must not look like another's key.
    return task.replace("%", "%25").replace(":", "%3A")
