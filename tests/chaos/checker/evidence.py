"""What a run leaves behind, and what is found wrong in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

READY = frozenset({"STOPPED", "SUCCESS", "ERROR", "EXCEPTION", "REVOKED"})
ENDED = READY - {"STOPPED"}
FAILED = ENDED - {"SUCCESS"}
WAITING = frozenset({"WAIT", "RETRY", ""})
#: No record.
NONE = "-"

Entry = dict[str, Any]


class Violation(NamedTuple):
    """One broken promise; ``rule`` is its number, such as ``I5``."""

    rule: str
    task_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule} {self.task_id}: {self.text}"


class Rollback(NamedTuple):
    """A moment at which writes may have been lost.

    Attributes:
        cause: ``failover`` or ``kill -9``.
        at: When the server went, or its successor took over.
        until: How long the old one may have acknowledged writes in vain.
        since: No write before that can be among them.
    """

    cause: str
    at: float
    until: float
    since: float


@dataclass
class Evidence:
    """Everything the checker reads.

    Attributes:
        audit: Entries of all streams; those of one task are in the order of the server.
        history: Events of all processes, by wall clock.
        dump: Every key and its value at the end; text, bytes that are no UTF-8 replaced.
        codes: How often each script answered what, as ``script:answer``.
        hand: IDs that were also changed by hand: pushed again, written without a script.
        max_reaps: As configured.
        tagged: Whether keys carry hash tags.
        drained: Whether the run waited for all work to end.
        rollbacks: When servers may have lost writes they had acknowledged.
        partitions: How many.
        workers: The living workers at the time of the dump.
    """

    audit: list[Entry]
    history: list[dict[str, Any]] = field(default_factory=list)
    dump: dict[str, Any] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    hand: set[str] = field(default_factory=set)
    max_reaps: int = 3
    tagged: bool = False
    drained: bool = False
    rollbacks: list[Rollback] = field(default_factory=list)
    partitions: int = 1
    workers: list[str] = field(default_factory=list)
