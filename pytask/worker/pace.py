"""How often a worker reports itself and refreshes its leases.

A worker at rest, which runs nothing but local tasks, has nothing that others could take over: it
does both more seldom. What it has been given meanwhile is seen within a second, long before any
time-out.
"""

from __future__ import annotations

from pytask.settings import Settings
from pytask.worker.runs import RunTable

#: A refresh begins after this part of update_task_interval, so that with defaults no living lease
#: is as old as worker_timeout: a Monitor looking for those of a dead worker need not read them.
EARLY = 0.75
#: The same at rest: the few leases there are take one short call.
EARLY_AT_REST = 0.95
#: How many times more seldom a worker at rest reports itself, if its time-outs leave room for that.
REST = 2.5


class Pace:
    """The periods of a heartbeat.

    Args:
        settings: What they are made of.
        table: The runs.
    """

    def __init__(self, settings: Settings, table: RunTable) -> None:
        self._table = table
        beat, grace = settings.beat_interval, settings.redis_grace
        #: How long a beat may take: trouble must be noticed well within redis_grace.
        self.time_out = min(beat, max(0.1, grace / 2))
        #: Seconds between two refreshes of a lease.
        self.refresh_interval = EARLY * settings.update_task_interval
        # One that fails has to be known to before redis_grace is over.
        longest = min(REST * beat, settings.worker_timeout / 2, grace - self.time_out)
        self._longer_beat = max(0.0, longest - beat)
        self._longer_refresh = (EARLY_AT_REST - EARLY) * settings.update_task_interval

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing runs here but local tasks."""
        return not self._table.occupied

    def beat_waits(self) -> float:
        """Return how many seconds longer than `beat_interval` the next beat may wait."""
        return self._longer_beat if self.is_at_rest else 0.0

    def refresh_waits(self) -> float:
        """Return how many seconds longer than `refresh_interval` a refresh may wait."""
        return self._longer_refresh if self.is_at_rest else 0.0
