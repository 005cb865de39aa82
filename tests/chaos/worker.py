"""A worker of a chaos run.

Usage: python -m gevent.monkey --module tests.chaos.worker CONFIG SLOT
"""

import functools
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos import audit, harmful, tasks
from tests.chaos.checker.timetable import RUN_EVERY
from tests.chaos.history import Recorder, wall
from tests.chaos.plugin import Unsteady
from tests.support import netns


def connect_through(place: dict[str, Any]) -> None:
    """Let every connection of this process pass the proxies of its zone."""
    import pytask.helpers
    import pytask.pytask
    from pytask.connection import connect

    own = place.get("host", "127.0.0.1")
    routes = {(host, port): (own, through) for host, port, through in place["routes"]}
    remap = functools.partial(_route, routes)
    for module in (pytask.helpers, pytask.pytask):
        module.connect = functools.partial(connect, address_remap=remap)  # type: ignore[attr-defined]


def _route(
    routes: dict[tuple[str, int], tuple[str, int]], address: tuple[str, int]
) -> tuple[str, int]:
    return routes.get((address[0], int(address[1])), address)


def format_of(number: int) -> str:
    """Return what a process writes: the fleet is a mixed one."""
    return "json" if number % 2 else "msgpack"


def record_answers(record: Recorder) -> None:
    """Tell the history what Redis answered to each outcome."""
    from pytask.store.ownership import Ownership

    finish = Ownership.finish

    def recorded(self: Any, partition: int, outcomes: Sequence[Any]) -> Any:
        sent = wall()
        codes = finish(self, partition, outcomes)
        for outcome, code in zip(outcomes, codes, strict=True):
            record(
                "finish",
                id=outcome.task_id,
                token=outcome.token,
                state=str(outcome.state),
                code=int(code),
                sent=sent,
            )
        return codes

    Ownership.finish = recorded  # type: ignore[method-assign]


def main() -> None:
    if "NETWORK" in os.environ:
        netns.enter(os.environ["NETWORK"])
    config = json.loads(Path(sys.argv[1]).read_text())
    slot = int(sys.argv[2])
    place = config["places"][slot]
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    record = tasks.record = Recorder(config["directory"], f"worker{slot}")
    os.environ |= {tasks.HISTORY: config["directory"], tasks.PARENT: str(os.getpid())}
    if config.get("audited", True):
        audit.install()
        record_answers(record)
    path = Path(config["directory"]) / f"worker{slot}-{os.getpid()}.tally"
    tasks.tallies = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    connect_through(place)
    from pytask import Cleanup, Monitor, PyTask

    options = {"serializer": format_of(slot), **config["settings"]}
    options["max_tasks"] = config.get("recycled", {}).get(str(slot), 0)
    app = PyTask(place["address"], **options)
    app.add_tasks(Monitor, Cleanup, *tasks.ALL, *harmful.ALL)
    if config.get("audited", True):
        app.add_plugin(Unsteady(record))
    quiet = config.get("quiet")
    if quiet:
        app.schedule(
            "chaos/timed",
            run_every=RUN_EVERY,
            missed="all",
            is_due=lambda due: not Path(quiet).exists(),
        )
    app.start_local_task("pytask/monitor", **config["monitor"])
    handler = config.get("handler", "tests.chaos.tasks:handle")
    app.start_local_task("pytask/cleanup", **({"task_handler": handler} if handler else {}))
    record("worker", worker=app.worker_id, pid=os.getpid(), slot=slot)
    try:
        app.run()
    finally:
        record("worker.end", pid=os.getpid(), slot=slot)


if __name__ == "__main__":
    main()
