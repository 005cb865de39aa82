"""When servers may have lost what they had acknowledged, as their own logs tell it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from tests.support.servers import Server

from .checker.evidence import Rollback

#: What is looked for in a log, in the words of Redis 7 and of Valkey.
_SAYINGS = {
    "started": re.compile(r"oO0OoO0OoO0Oo"),
    "handed over": re.compile(r"manual failover can start"),
    "promoted": re.compile(r"Failover election won|(MASTER|PRIMARY) MODE enabled"),
    "demoted": re.compile(r"Reconfiguring myself as a replica|REPLICAOF \S+ enabled"),
}
_LINE = re.compile(r"\d+:[A-Z] (\d+ \w+ \d+ [\d:]+\.\d+) . (.*)")
#: A master that is told to hand over waits until its replica has everything.
_HANDING_OVER = 6.0
#: How long a master that was replaced may take to learn it.
_LEARNING = 20.0
#: With appendfsync everysec Redis puts a write to its file off for up to two seconds while the disk
#: is busy with the last fsync, but acknowledges it: a kill loses it (measured on a bare server).
_UNWRITTEN = 2.5
#: Longest time from the fault that takes a master away to the promotion of its replica.
_ELECTING = 15.0


class Saying(NamedTuple):
    """A line of a log that matters."""

    at: float
    node: int
    what: str


def find_rollbacks(
    nodes: Iterable[Server], history: Iterable[dict[str, Any]], lazy_file: bool
) -> list[Rollback]:
    """Return every moment at which writes may have been lost.

    That is when a master was replaced by a replica that may lack its last writes; until it knew,
    it may even have acknowledged more. And when a server was killed that puts writes off.

    Args:
        nodes: The servers that hold data.
        history: Of the harness: who was killed when.
        lazy_file: Whether killed servers may lose writes (``appendfsync everysec``).
    """
    sayings = sorted(
        saying for number, node in enumerate(nodes) for saying in read_log(node, number)
    )
    found = list(_promotions(sayings))
    if lazy_file:
        for event in history:
            if event["ev"] == "outage" and event["what"] == "kill":
                # Told before it is done.
                found.append(
                    Rollback(
                        "kill -9", event["wall"], event["wall"] + 0.2, event["wall"] - _UNWRITTEN
                    )
                )
    return found


def read_log(node: Server, number: int) -> Iterator[Saying]:
    """Yield what matters in the log of a server."""
    path = node.directory / "server.log"
    if not path.exists():
        return
    for line in path.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        for what, pattern in _SAYINGS.items():
            if pattern.search(match[2]):
                at = datetime.strptime(match[1], "%d %b %Y %H:%M:%S.%f").timestamp()
                yield Saying(at, number, what)


def _promotions(sayings: list[Saying]) -> Iterator[Rollback]:
    for index, saying in enumerate(sayings):
        if saying.what != "promoted":
            continue
        before = [one for one in sayings[:index] if one.node == saying.node]
        if (
            before
            and before[-1].what == "handed over"
            and saying.at - before[-1].at < _HANDING_OVER
        ):
            continue
        yield Rollback(
            "failover", saying.at, _knew(sayings[index + 1 :], saying), saying.at - _ELECTING
        )


def _knew(later: list[Saying], promoted: Saying) -> float:
    """Return when the old master knew that it is none any more."""
    restarted = set()
    for one in later:
        if one.node == promoted.node or one.at > promoted.at + _LEARNING:
            continue
        if one.what == "started":
            # It was dead; and where it comes back it takes no writes before it has looked around.
            restarted.add(one.node)
        elif one.what == "demoted":
            return promoted.at if one.node in restarted else one.at
    return promoted.at
