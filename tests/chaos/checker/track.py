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
        #: Second entries that a search for orphans made, of IDs a claim list held.
        self.adopted = 0
        #: Entries in claim lists of Cleanups that outlived a restart; they are dropped when seen.
        self.held_ends = 0
        #: A stop was acknowledged while it ran, and no restart since.
        self.stop_pending = False
        #: Requests to start it that were carried out; and those of records that are gone.
        self.requests: set[str] = set()
        self.forgotten_requests: set[str] = set()
        self.history: list[Entry] = []

    def forget_kept(self, entry: Entry) -> None:
        """Notice that Redis has forgotten it since, because its result was kept for long enough."""
        if self.is_kept and entry["f"] == NONE:
            self._forget()
            self.state, self.run = NONE, None

    def apply(self, entry: Entry) -> None:
        """Follow one transition."""
        self.history.append(entry)
        old_unqueue = len(self.unqueue)
        old_mark = self.fields.get("end_entry") == "1"
        if entry["s"] == "adopt":
            self.adopted += (entry.get("q") or {}).get("n", 0)
            # Not counted as a second one where there was none: that was an orphan indeed.
            self.held_ends += (entry.get("q") or {}).get("e", 0) * (self.places["e"] > 0)
        if entry["f"] in ENDED and entry["t"] == "WAIT" and self.places["e"]:
            self.held_ends += not old_mark
        for name in entry.get("b") or {}:
            self.fields.pop(name, None)
        self.fields.update(entry.get("a") or {})
        for place, count in (entry.get("q") or {}).items():
            self.places[place] += count
        # Confirmed by a Cleanup that was taken for dead: the one that has been given it since holds
        # it until it looks.
        self.held_ends += "held_by" in entry and self.places["e"] > 0
        if entry["t"] == NONE:
            if entry["f"] != NONE:
                # What lies in a claim list at that moment is dropped when its worker looks at it.
                removed = entry["s"] in ("remove", "flush")
                self.strays += max(0, self.places["n"]) if removed else old_unqueue
                if removed or entry["s"] in ("requeue", "reap") or old_mark:
                    self.held_ends += self.places["e"] > 0
            self._forget()
        self.state, self.run = entry["t"], entry.get("R")

    def _forget(self) -> None:
        self.fields.clear()
        self.forgotten_requests |= self.requests
        self.requests = set()
        self.stop_pending = False

    @property
    def is_kept(self) -> bool:
        """Whether its result is kept for a while, in no list."""
        return self.state == "SUCCESS" and self.fields.get("kept") == "1"

    @property
    def unqueue(self) -> list[str]:
        return self.fields.get("unqueue", "").split()

    def misplaced(self) -> str:
        """Say what is wrong with where the ID stands now; empty: nothing."""
        wrong = []
        for place, (least, most) in self._wanted().items():
            count = self.places[place]
            if not least <= count <= most and not (place in "nd" and self._may_vary()):
                span = f"{least}" if least == most else f"{least} to {most}"
                wrong.append(f"{count} in the {PLACES[place]}, not {span}")
        return ", ".join(wrong)

    def _may_vary(self) -> bool:
        return self.by_hand or self.strays > 0

    def _wanted(self) -> dict[str, tuple[int, int]]:
        """Return for each place how often at least and at most the ID stands there."""
        stale = len(self.unqueue)
        wanted = dict.fromkeys("sldf", (0, 0))
        wanted["n"] = (stale, stale + self.adopted)
        wanted["e"] = (0, 1 + self.held_ends)
        if self.state == NONE:
            wanted["n"] = (0, self.adopted)
        elif self.state in WAITING:
            delayed = min(1, max(0, self.places["d"]))
            wanted["d"] = (delayed, delayed)
            wanted["n"] = (stale + 1 - delayed, stale + 1 - delayed + self.adopted)
        elif self.state == "RUNNING":
            wanted["s"] = wanted["l"] = (1, 1)
        elif self.state == "STOPPED" or self.fields.get("cleanup") == "false":
            wanted["s"] = (1, 1)
        elif self.state in ENDED:
            # Kept as a failure; a Cleanup that was taken for dead may still acknowledge what
            # another one is about to see again.
            kept = min(1, max(0, self.places["f"]))
            wanted["f"] = (kept, kept)
            wanted["e"] = (0 if self.is_kept else 1 - kept, 1 + self.held_ends)
        return wanted
