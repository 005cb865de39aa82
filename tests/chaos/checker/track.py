"""One task as the audit tells it: its state, its token, and where its ID stands."""

from __future__ import annotations

from collections import Counter

from .evidence import ENDED, NONE, WAITING, Entry

#: Where an ID can stand, as in ``audit.lua``.
PLACES = {
    "n": "new queues",
    "e": "end queues",
    "d": "delayed set",
    "s": "task set",
    "l": "leases",
    "f": "failed set",
}


class Track:
    """The life of one ID, entry by entry.

    Attributes:
        by_hand: It was also changed without a script; what it gained or lost is not known.
    """

    def __init__(self, task_id: str, by_hand: bool) -> None:
        self.task_id = task_id
        self.by_hand = by_hand
        self.state: str = NONE
        self.run: str | None = None
        self.places: Counter[str] = Counter()
        self.fields: dict[str, str] = {}
        #: Claims since the record was created.
        self.claims = 0
        #: Entries of an earlier record of this ID that nothing names any more.
        self.strays = 0
        #: A stop was acknowledged while it ran, and no restart since.
        self.stop_pending = False
        #: Requests to start it that were carried out; and those of records that are gone.
        self.requests: set[str] = set()
        self.forgotten_requests: set[str] = set()
        self.history: list[Entry] = []

    def apply(self, entry: Entry) -> None:
        """Follow one transition."""
        self.history.append(entry)
        old_unqueue = len(self.unqueue)
        for name in entry.get("b") or {}:
            self.fields.pop(name, None)
        self.fields.update(entry.get("a") or {})
        for place, count in (entry.get("q") or {}).items():
            self.places[place] += count
        if entry["t"] == NONE:
            if entry["f"] != NONE:
                self.strays += old_unqueue if entry["s"] != "remove" else 0
            self.fields.clear()
            self.forgotten_requests |= self.requests
            self.requests = set()
            self.stop_pending = False
        self.state, self.run = entry["t"], entry.get("R")

    @property
    def unqueue(self) -> list[str]:
        return self.fields.get("unqueue", "").split()

    def misplaced(self) -> str:
        """Say what is wrong with where the ID stands now; empty: nothing."""
        wanted = self._wanted()
        wrong = [
            f"{self.places[place]} in the {PLACES[place]}, not {count}"
            for place, count in wanted.items()
            if self.places[place] != count and not (place == "n" and self._may_vary())
        ]
        return ", ".join(wrong)

    def _may_vary(self) -> bool:
        return self.by_hand or self.strays > 0

    def _wanted(self) -> dict[str, int]:
        stale = len(self.unqueue)
        wanted = {"s": 0, "l": 0, "d": 0, "n": stale, "f": 0}
        if self.state == NONE:
            wanted["n"] = 0
            if not self.by_hand:
                wanted["e"] = self.places["e"] if self.places["e"] in (0, 1) else 0
            return wanted
        if self.state in WAITING:
            delayed = self.places["d"]
            wanted["d"] = min(1, max(0, delayed))
            wanted["n"] = stale + (1 - wanted["d"])
        elif self.state == "RUNNING":
            wanted["s"] = wanted["l"] = 1
        elif self.state == "STOPPED" or self.fields.get("cleanup") == "false":
            wanted["s"] = 1
        elif self.state in ENDED:
            kept = min(1, max(0, self.places["f"]))
            wanted["f"] = kept
            wanted["e"] = 1 - kept
        wanted.setdefault("e", min(1, max(0, self.places["e"])))
        return wanted
