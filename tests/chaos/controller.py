"""Starts services and does to them what people do.

Usage: python -m gevent.monkey --module tests.chaos.controller CONFIG NUMBER
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from tests.chaos import audit
from tests.chaos.history import Recorder, read_all, wall
from tests.chaos.worker import connect_through

#: What is done next, and how often.
ACTIONS = {"stop": 30, "restart": 30, "reload": 20, "start": 10, "remove": 6, "remove_force": 2}


class Controller:
    """Args: config: Of the run. number: Of this controller."""

    def __init__(self, config: dict[str, Any], number: int) -> None:
        from pytask.helpers import PyTaskHelpers

        place = config["places"][config["client_place"]]
        settings = {**config["settings"], "redis_patience": 1.5}
        self.helpers = PyTaskHelpers(place["address"], **settings)
        self.record = Recorder(config["directory"], f"controller{number}")
        self.rng = random.Random(f"{config['seed']}:controller:{number}:{os.getpid()}")
        self.name = f"s{number}-{os.getpid()}"
        self.most = config["services"]
        self.pause = config["control_pause"]
        # What a killed one started is looked after by the next; else services fill all slots.
        self.ids = inherited(config["directory"], number)
        self.count = 0
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            action = "start"
            if len(self.ids) >= self.most // 2:
                action = self.rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            if action == "start" and len(self.ids) < self.most:
                self.start()
            elif self.ids:
                self.act(action, self.rng.choice(self.ids))
            gevent.sleep(self.rng.uniform(0.5, 1.5) * self.pause)

    def start(self) -> None:
        self.count += 1
        task_id = f"{self.name}-{self.count}"
        delay = self.rng.choice((0.0, 0.0, 0.0, 1.0))
        # One that waits for its next attempt is stopped, restarted and removed as well.
        name = self.rng.choice(("chaos/service",) * 4 + ("chaos/again",))
        data = {"seconds": 4.0}
        if self._call(
            "enq",
            lambda: self.helpers.submit(name, data, task_id=task_id, delay=delay),
            ids=[task_id],
        ):
            self.ids.append(task_id)

    def act(self, action: str, task_id: str) -> None:
        store = self.helpers.store
        if action.startswith("remove"):
            self.ids.remove(task_id)
            force = action == "remove_force"
            self._call("remove", lambda: store.remove(task_id, force), id=task_id)
        elif action == "stop":
            self._call("stop", lambda: store.stop(task_id), id=task_id)
        elif action == "restart":
            states = self.rng.choice(((), ("STOPPED",)))
            self._call("restart", lambda: store.restart(task_id, states), id=task_id)
        else:
            self._call("reload", lambda: store.reload(task_id), id=task_id)

    def _call(self, verb: str, call: Callable[[], Any], **details: Any) -> bool:
        from pytask.exceptions import RedisError

        self.record(f"{verb}.invoke", **details)
        sent = wall()
        try:
            answer = call()
        except RedisError as error:
            self.record(f"{verb}.unknown", error=str(error)[:80], **details)
            return False
        code = int(answer) if isinstance(answer, int) else None
        self.record(f"{verb}.ok", code=code, sent=sent, **details)
        return True


def inherited(directory: str, number: int) -> list[str]:
    """Return what earlier controllers of this number started and did not remove."""
    ids: dict[str, None] = {}
    for event in read_all(directory, f"controller{number}-*"):
        if event["ev"] == "enq.invoke":
            ids.update(dict.fromkeys(event["ids"]))
        elif event["ev"] == "remove.invoke":
            ids.pop(event["id"], None)
    return list(ids)


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    audit.install()
    connect_through(config["places"][config["client_place"]])
    controller = Controller(config, int(sys.argv[2]))

    def stop() -> None:
        controller.stopping = True

    gevent.signal_handler(signal.SIGTERM, stop)
    controller.run()


if __name__ == "__main__":
    main()
