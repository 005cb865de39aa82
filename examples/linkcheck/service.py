"""What can be done to a task while it runs, shown on the service beside the crawl."""

from collections.abc import Callable, Iterator
from typing import Any

from gevent.event import Event as Flag

from pytask import PyTaskHelpers, TaskFuture
from pytask.future import Event

Tell = Callable[[str, Any], None]

#: Seconds without any event after which something is wrong.
PATIENCE = 30.0


class ServiceShow:
    """Starts the pulse, reloads it with other data, stops it and starts it again.

    Args:
        helpers: How tasks are started and controlled.
        crawl: Names the crawl.
        tell: Called with each event and its data, and with what is done to the service.

    Attributes:
        shown: Set when all of that has happened; the service goes on.
    """

    def __init__(self, helpers: PyTaskHelpers, crawl: str, tell: Tell) -> None:
        self._helpers = helpers
        self._crawl = crawl
        self._tell = tell
        self.task_id = f"linkcheck/{crawl}/pulse"
        self.shown = Flag()

    def run(self) -> None:
        """Go through all of it, then tell what the service says until somebody stops it."""
        # Not cleaned up when it ends, so that it can be restarted under its ID.
        service = self._helpers.submit(
            "linkcheck/pulse",
            {"crawl": self._crawl, "interval": 0.5},
            task_id=self.task_id,
            cleanup=False,
            watch=True,
        )
        try:
            self._go_through(service)
        finally:
            service.close()

    def _go_through(self, service: TaskFuture) -> None:
        helpers, task_id = self._helpers, self.task_id
        events = service.events(timeout=PATIENCE)
        self._follow(events, until="pulse", times=3)

        self._tell("> reload", "with other data: five events a second instead of two")
        helpers.set_task(task_id, {"data": {"crawl": self._crawl, "interval": 0.2}})
        helpers.reload_task(task_id)
        self._follow(events, until="reloaded")
        self._follow(events, until="pulse", times=3)

        self._tell("> stop", "its record stays")
        helpers.stop_task(task_id)
        self._follow(events, until="stopped")

        self._tell("> restart", "under the same ID, with the data it had")
        helpers.restart_task(task_id)
        events = service.events(timeout=PATIENCE)
        self._follow(events, until="pulse")
        self.shown.set()
        self._follow(events, until="stopped")

    def end(self) -> None:
        """Stop the service for good and forget it."""
        self._helpers.remove_task(self.task_id, force=True)

    def _follow(self, events: Iterator[Event], until: str, times: int = 1) -> None:
        """Tell all events up to the ``times``-th of one name."""
        for event in events:
            self._tell(event.name, event.data)
            times -= event.name == until
            if not times:
                return
        raise TimeoutError(f"the service did not say {until!r} within {PATIENCE:.0f} s")
