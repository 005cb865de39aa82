"""Keeps everybody busy while processes die, and notes what Redis confirmed."""

from __future__ import annotations

from itertools import count
from typing import Any

import gevent

from pytask import PyTaskHelpers
from tests.chaos.history import Recorder
from tests.support.servers import Server

#: Seconds between two rounds.
PACE = 0.15
#: Rounds are left out while more tasks than these wait to be run or cleaned up: what a slow machine
#: has not done when the kills are over would have to be waited for.
MOST = 400
#: How the IDs of the services of clients begin; a living one stops its own within a second or two.
OF_CLIENT = "service-plain-c"


class Feeder:
    """Starts tasks of all kinds, and does by hand what a Monitor has to mend.

    Args:
        helpers: A client.
        recorder: Where confirmed tasks are noted.
        server: Paused now and then, so that answers come late.
    """

    def __init__(self, helpers: PyTaskHelpers, recorder: Recorder, server: Server) -> None:
        self._helpers = helpers
        self._recorder = recorder
        self._server = server
        self._raw = server.client(socket_timeout=120.0)
        self._names = count()
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._is_stopping = False
        self.services: list[str] = []
        self._seen: set[str] = set()

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Start nothing more; what was begun is completed. Raises what went wrong."""
        self._is_stopping = True
        if self._greenlet is not None:
            self._greenlet.get()

    def _run(self) -> None:
        for number in count():
            if self._is_stopping:
                break
            if self._behind() < MOST:
                self._feed(number)
            if number % 20 == 0:
                self._stop_abandoned()
            gevent.sleep(PACE)
        for service in self.services:
            self._helpers.stop_task(service)

    def _stop_abandoned(self) -> None:
        """Stop what dead clients have left running, which would fill all slots in time."""
        active = {one for one in self._helpers.get_active_task_ids() if one.startswith(OF_CLIENT)}
        for one in active & self._seen:
            self._helpers.store.stop(one)
        self._seen = active

    def _behind(self) -> int:
        names = self._helpers.keys.partitions[0]
        return int(self._raw.llen(names.new_queue()) + self._raw.llen(names.end_queue))

    def _confirmed(self, *ids: str) -> None:
        for one in ids:
            self._recorder("confirmed", id=one)

    def _feed(self, number: int) -> None:
        helpers = self._helpers
        kinds = ("quick", "quick", "naps", "naps", "fails", "tells")
        tasks = [{"task": kind, "task_id": f"plain-f{next(self._names)}"} for kind in kinds]
        self._confirmed(*helpers.start_tasks(tasks))
        kept = f"plain-kept-{next(self._names)}"
        self._confirmed(helpers.submit("quick", task_id=kept, cleanup=False).id)
        late = f"plain-late-{next(self._names)}"
        self._confirmed(helpers.submit("quick", task_id=late, delay=0.3).id)
        if number % 3 == 0:
            self._serve()
            gated = [f"plain-gated-{next(self._names)}" for _ in range(3)]
            helpers.start_tasks([{"task": "gated", "task_id": one} for one in gated])
            self._confirmed(*gated)
        if number % 4 == 0:
            self._do_by_hand()
        if number % 25 == 20:
            self._stall()

    def _stall(self) -> None:
        """Let Redis stand still for longer than ``redis_grace`` while workers claim tasks.

        They stop what they run, and give it back; what they claimed they hear of too late.
        """
        burst = [{"task": "quick", "task_id": f"plain-f{next(self._names)}"} for _ in range(300)]
        self._confirmed(*self._helpers.start_tasks(burst))
        self._server.command("CLIENT", "PAUSE", 1500, "ALL", timeout=120.0)

    def _serve(self) -> None:
        """Start a task that runs until it is stopped; reload and stop earlier ones."""
        helpers = self._helpers
        service = f"service-f{next(self._names)}"
        self._confirmed(helpers.start_task("service", service))
        self.services.append(service)
        for one in self.services:
            helpers.reload_task(one)
        if len(self.services) > 8:
            helpers.stop_task(self.services.pop(0))

    def _do_by_hand(self) -> None:
        """Leave things as somebody with redis-cli would."""
        names = self._helpers.keys.partitions[0]
        orphan, stray = (f"plain-by-hand-{next(self._names)}" for _ in range(2))
        fields: dict[str, Any] = {"task": "quick", "data": "{}", "state": "WAIT"}
        self._raw.hset(names.record(orphan), mapping=fields)
        self._raw.hset(names.record(stray), mapping=fields)
        self._raw.lpush(names.new_claim("default", "nobody"), stray)
        self._confirmed(orphan, stray)
