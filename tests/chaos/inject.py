"""Carries out a plan: each fault when it is due, or as soon after that as it can be done."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Iterable

from .faults import FAULTS, Scene
from .schedule import Planned

#: Seconds between two tries of what could not be done.
_AGAIN = 0.15


class Injector:
    """Args: scene: What is harmed. planned: In the order of time.

    A fault that another one is in the way of, or that finds nothing to harm, waits for its moment;
    of those that wait the kind comes first that was seen least.

    Attributes:
        done: How often each kind was injected.
    """

    def __init__(self, scene: Scene, planned: Iterable[Planned]) -> None:
        self.done: Counter[str] = Counter()
        self._scene = scene
        self._planned = deque(planned)
        self._waiting: list[Planned] = []
        self._tries: Counter[str] = Counter()
        self._next_try = 0.0

    @property
    def never_possible(self) -> Counter[str]:
        """What still waited at the end, by kind."""
        return Counter(one.name for one in self._waiting)

    def tick(self, at: float) -> None:
        """Inject what is due ``at`` seconds after the beginning."""
        new = bool(self._planned) and self._planned[0].at <= at
        while self._planned and self._planned[0].at <= at:
            self._waiting.append(self._planned.popleft())
        if not new and time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + _AGAIN
        for planned in sorted(self._waiting, key=lambda one: (self.done[one.name], one.at)):
            if self._inject(planned):
                self._waiting.remove(planned)

    def _inject(self, planned: Planned) -> bool:
        fault = FAULTS[planned.name]
        if fault.exclusive and not self._scene.is_served:
            return False
        # A fresh draw at each try: another worker may be there to be harmed.
        rng = random.Random(f"{planned.key}:{self._tries[planned.key]}")
        self._tries[planned.key] += 1
        seconds = fault.inject(self._scene, rng)
        if seconds is None:
            return False
        self.done[planned.name] += 1
        self._scene.record(
            "fault", name=planned.name, area=fault.area, seconds=seconds, key=planned.key
        )
        return True
