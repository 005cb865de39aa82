"""A link on which replies get lost: some scripts are run twice, and both answers compared."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from pytask.scripts import list_names

from .checker import Violation

#: What the repeat of a call must answer that was answered so the first time; absent: the same.
_CODES: dict[str, dict[int, set[int]]] = {
    "enqueue": {1: {2}},
    "finish": {1: {2}},
    "requeue": {1: {2}, 3: {0}},
    "restart": {1: {2}},
    "start_local": {1: {2}},
    "stop": {1: {2}},
    "pause": {1: {2}},
    "resume": {1: {2}},
    "remove": {1: {0}},
    "acknowledge_ended": {1: {0, 1}},
}
#: A call that dealt with several runs of one task tells the others something else the next time.
_LATER = {2: {2, -1, -2, 0}, -2: {-2, -1, 0}, -1: {-1, 0}}


class Repeating:
    """Passes calls on, and runs every third script once more.

    Args:
        link: Where calls go.
        rng: Decides which.
    """

    def __init__(self, link: Any, rng: random.Random) -> None:
        self._link = link
        self._rng = rng
        self._names: dict[str, str] = {}
        self.violations: list[Violation] = []

    def evalsha(self, sha: str, source: str, *rest: Any) -> Any:
        first = self._link.evalsha(sha, source, *rest)
        if self._rng.random() > 0.33:
            return first
        second = self._link.evalsha(sha, source, *rest)
        name = self._name(source)
        wrong = _COMPARE.get(name, _same_codes)(name, first, second)
        if wrong:
            self.violations.append(Violation("R", name, wrong))
        return first if name in ("claim", "take_ended") else second

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def _name(self, source: str) -> str:
        if source not in self._names:
            line = next(line for line in source.splitlines() if line.startswith("local audit_name"))
            self._names[source] = next(name for name in list_names() if f"'{name}'" in line)
        return self._names[source]


def _same_codes(name: str, first: Any, second: Any) -> str:
    allowed = _CODES.get(name)
    if allowed is None:
        return ""
    firsts, seconds = (one if isinstance(one, list) else [one] for one in (first, second))
    for once, again in zip(firsts, seconds, strict=True):
        if again not in allowed.get(once, _LATER.get(once, {once})):
            return f"answered {once}, repeated {again}"
    return ""


def _claim(name: str, first: Any, second: Any) -> str:
    if first[2] and second[2] != first[2]:
        return f"gave {first[2][::7]}, repeated {second[2][::7]}"
    return ""


def _take_ended(name: str, first: Any, second: Any) -> str:
    missing = set(first[::2]) - set(second[::2])
    return f"did not give {missing} again" if missing else ""


def _nothing_more(name: str, first: Any, second: Any) -> str:
    return f"did {second} again" if second else ""


def _reap(name: str, first: Any, second: Any) -> str:
    again = set(first[1][::2]) & set(second[1][::2])
    return f"took {again} twice" if again else ""


_COMPARE: dict[str, Callable[[str, Any, Any], str]] = {
    "claim": _claim,
    "take_ended": _take_ended,
    "give_back": _nothing_more,
    "return_ended": _nothing_more,
    "reap": _reap,
}
