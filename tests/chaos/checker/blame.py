"""I8 for what a lost worker ran: somebody is condemned when there is somebody to condemn."""

from __future__ import annotations

from collections.abc import Iterator

from .evidence import Entry, Evidence, Violation

#: The tasks one call took back from one worker: they share a stream, an owner, and the instant the
#: call took from the clock at its end; the entries of the stream may be milliseconds apart.
Group = tuple[str, str, str]


def check_blame(evidence: Evidence) -> Iterator[Violation]:
    """Yield who was spared although it had lost enough workers and nobody else was condemned."""
    condemned, spared = set[Group](), list[tuple[Group, Entry]]()
    for entry in evidence.audit:
        if entry["s"] != "reap" or entry["t"] not in ("WAIT", "EXCEPTION"):
            continue
        group = entry["stream"], entry["now"], (entry.get("b") or {}).get("worker", "")
        if entry["t"] == "EXCEPTION":
            condemned.add(group)
        elif float((entry.get("a") or {}).get("reaps", 0)) >= float(entry["timeouts"][2]):
            spared.append((group, entry))
    for group, entry in spared:
        if group not in condemned:
            yield Violation("I8", entry["i"], f"nobody was condemned for the loss of {group[2]}")
