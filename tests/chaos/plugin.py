"""A plug-in of the workers of a chaos run, which fails now and then."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import gevent

from pytask import Plugin
from pytask.plugins import TaskSnapshot


class Unsteady(Plugin):
    """Follows the tasks; raises, exits and dawdles, and nobody may care.

    Args:
        record: Tells the history how many tasks it has been told of.
    """

    name = "unsteady"

    def __init__(self, record: Callable[..., None]) -> None:
        self._record = record
        self._told = 0

    def store_message(self, task: TaskSnapshot, event: str) -> None:
        self._told += 1
        if self._told % 100 == 0:
            self._record("told", messages=self._told)
        chance = random.random()
        if chance < 0.002:
            raise ValueError(f"meant to happen, at {event} of {task.id}")
        if chance < 0.003:
            raise SystemExit(3)
        if chance < 0.004:
            gevent.sleep(0.2)

    def info(self) -> Mapping[str, Any]:
        if random.random() < 0.1:
            raise ValueError("meant to happen")
        return {"told": self._told}
