"""Starts tasks, and keeps account of what it was told.

Usage: python -m gevent.monkey --module tests.chaos.producer CONFIG NUMBER

An enqueue that raised RedisUnavailable may or may not have happened. Half of those are started
again under the same IDs, as an application would; the others stay unknown.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gevent

from pytask import LOCAL
from tests.chaos import audit
from tests.chaos.history import Recorder, wall
from tests.chaos.worker import connect_through, format_of

#: Kind, share, and what makes its data.
MIX = [
    ("chaos/quick", 66),
    ("chaos/gated", 2),
    ("chaos/keyed", 1),
    ("chaos/limited", 1),
    ("chaos/sleep", 14),
    ("chaos/loop", 3),
    ("chaos/thread", 1),
    ("chaos/process", 2),
    ("chaos/again", 3),
    ("chaos/error", 4),
    ("chaos/exception", 3),
    ("chaos/stubborn", 1),
    ("chaos/sleep-long", 1),
]


class Producer:
    """Args: config: Of the run. number: Of this producer."""

    def __init__(self, config: dict[str, Any], number: int) -> None:
        from pytask.helpers import PyTaskHelpers

        place = config["places"][config["client_place"]]
        settings = {**config["settings"], "redis_patience": 1.5, "serializer": format_of(number)}
        self.helpers = PyTaskHelpers(place["address"], **settings)
        self.record = Recorder(config["directory"], f"producer{number}")
        self.rng = random.Random(f"{config['seed']}:producer:{number}:{os.getpid()}")
        self.rate = config["rate"]
        self.limit = config["backlog"]
        self.queues = [name for name in config["settings"]["queues"] if name != "default"]
        self.name = f"p{number}-{os.getpid()}"
        self.count = 0
        self.stopping = False

    def run(self) -> None:
        due = time.monotonic()
        look_at = 0.0
        while not self.stopping:
            batch = self.rng.choice((1, 5, 20, 60, 60))
            self.enqueue([self.new_task() for _ in range(batch)])
            due = max(due + batch / self.rate, time.monotonic() - 2)
            gevent.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() > look_at:
                look_at = time.monotonic() + 0.5
                self.wait_for_room()

    def new_task(self) -> dict[str, Any]:
        self.count += 1
        kind = self.rng.choices([name for name, _ in MIX], [share for _, share in MIX])[0]
        seconds = self.rng.uniform(0.02, 0.6)
        if kind == "chaos/sleep-long":
            kind, seconds = "chaos/sleep", self.rng.uniform(2.0, 6.0)
        task: dict[str, Any] = {
            "task": kind,
            "task_id": f"{self.name}-{self.count}",
            "data": {"seconds": seconds},
        }
        if self.rng.random() < 0.05:
            task["delay"] = self.rng.uniform(0.1, 3.0)
        if self.rng.random() < 0.02:
            task["expires"] = self.rng.uniform(0.05, 2.0)
        if self.rng.random() < 0.02:
            task["cleanup"] = False
        if self.queues and self.rng.random() < 0.2:
            task["queue"] = self.rng.choice(self.queues)
        elif self.rng.random() < 0.05:
            task["queue"] = LOCAL
        return task

    def enqueue(self, tasks: list[dict[str, Any]]) -> None:
        from pytask.exceptions import RedisError, RedisRefused

        ids = [task["task_id"] for task in tasks]
        self.record("enq.invoke", ids=ids)
        sent = wall()
        while True:
            try:
                self.helpers.start_tasks(tasks)
            except RedisRefused as error:
                self.record("enq.unknown", ids=ids, error=f"refused: {error}"[:80])
                gevent.sleep(0.3)
            except RedisError as error:
                self.record("enq.unknown", ids=ids, error=str(error)[:80])
            else:
                self.record("enq.ok", ids=ids, sent=sent)
                return
            if self.stopping or self.rng.random() < 0.5:
                return

    def wait_for_room(self) -> None:
        from pytask.exceptions import RedisError

        while not self.stopping:
            try:
                waiting = self.helpers.store.count(["default", *self.queues])["waiting"]
            except RedisError:
                return
            if waiting < self.limit:
                return
            gevent.sleep(0.1)


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    audit.install()
    connect_through(config["places"][config["client_place"]])
    producer = Producer(config, int(sys.argv[2]))

    def stop() -> None:
        producer.stopping = True

    gevent.signal_handler(signal.SIGTERM, stop)
    producer.run()


if __name__ == "__main__":
    main()
