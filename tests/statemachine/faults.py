"""A link that loses requests and replies on command, and can break a script on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, NamedTuple

from pytask.exceptions import RedisUnavailable
from pytask.scripts import Script

LOST_REQUEST = "request lost"
LOST_REPLY = "reply lost"


@dataclass(frozen=True)
class Fate:
    """What becomes of the attempts of one call, in order; those not named arrive.

    Attributes:
        faults: For each attempt ``LOST_REQUEST`` or ``LOST_REPLY``.
        gives_up: The caller makes one attempt only, as if it died then.
    """

    faults: tuple[str, ...] = ()
    gives_up: bool = False

    def __repr__(self) -> str:
        words = [*self.faults, "given up" if self.gives_up else "repeated"]
        return f"<{', '.join(words) if self.faults else 'fine'}>"


FINE = Fate()
#: Fine more often than not: a history that goes nowhere finds nothing.
FATES = (
    FINE,
    FINE,
    FINE,
    Fate((LOST_REPLY,)),
    Fate((LOST_REPLY,), gives_up=True),
    Fate((LOST_REQUEST,)),
    Fate((LOST_REQUEST,), gives_up=True),
    Fate((LOST_REPLY, LOST_REQUEST, LOST_REPLY)),
)


class Call(NamedTuple):
    """A script call as it went over the wire."""

    sha: str
    source: str
    keys: Sequence[bytes]
    args: Sequence[Any]

    def text(self, at: int) -> str:
        arg: str | bytes = self.args[at]
        return arg.decode() if isinstance(arg, bytes) else arg


class FaultyLink:
    """A real link inside; the next calls meet the faults of ``plan``.

    Attributes:
        plan: Faults for the coming attempts.
        executed: How many attempts Redis has carried out since :meth:`expect`.
        last_call: The last script call, also one that was lost.
    """

    def __init__(self, link: Any) -> None:
        self._link = link
        self.plan: list[str] = []
        self.executed = 0
        self.last_call: Call | None = None
        self.mutants: dict[str, tuple[str, str]] = {}

    def expect(self, fate: Fate) -> None:
        self.plan, self.executed, self.last_call = list(fate.faults), 0, None

    def _carry(self, send: Callable[[], Any]) -> Any:
        fault = self.plan.pop(0) if self.plan else None
        if fault == LOST_REQUEST:
            raise RedisUnavailable("the request was lost, as planned")
        reply = send()
        self.executed += 1
        if fault == LOST_REPLY:
            raise RedisUnavailable("the reply was lost, as planned")
        return reply

    def execute(self, *args: Any) -> Any:
        return self._carry(lambda: self._link.execute(*args))

    def blocking(self, seconds: float, *args: Any, then: tuple[Any, ...] = ()) -> Any:
        return self._carry(lambda: self._link.blocking(seconds, *args, then=then))

    def evalsha(
        self, sha: str, source: str, keys: Sequence[bytes], args: Sequence[Any], *rest: Any
    ) -> Any:
        self.last_call = Call(sha, source, keys, args)
        sha, source = self.mutants.get(sha, (sha, source))
        return self._carry(lambda: self._link.evalsha(sha, source, keys, args, *rest))

    def scan_iter(self, match: str | bytes, count: int = 500) -> Iterator[bytes]:
        found: Iterator[bytes] = self._link.scan_iter(match, count)
        return found

    def replay(self, call: Call) -> Any:
        """Let a call arrive that was sent long ago."""
        return self.evalsha(*call)

    def mutate(self, scripts: Iterable[Script], old: str, new: str) -> None:
        """Run scripts with a part of their text replaced.

        Raises:
            AssertionError: None of them contains the part, so nothing would be proved.
        """
        for script in scripts:
            if old in script.source:
                source = script.source.replace(old, new)
                digest = sha1(source.encode(), usedforsecurity=False).hexdigest()
                self.mutants[script.sha] = (digest, source)
        assert self.mutants, f"no script contains {old!r}"
