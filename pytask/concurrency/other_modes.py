"""The modes of one worker besides its greenlets, each made when the first task needs it."""

from __future__ import annotations

from typing import cast

from pytask.concurrency.door import Door
from pytask.concurrency.event_loop import LoopMode
from pytask.concurrency.modes import ASYNCIO, PROCESS, THREAD, LaterMode, Mode
from pytask.concurrency.processes import ProcessMode
from pytask.concurrency.threads import ThreadMode
from pytask.concurrency.workplaces import HubPlace
from pytask.cores import available_cores
from pytask.settings import Settings


class OtherModes:
    """Makes and keeps the modes.

    Args:
        settings: Sizes of the pools.
        place: The environment of tasks in greenlets.
    """

    def __init__(self, settings: Settings, place: HubPlace) -> None:
        self._settings = settings
        self.place = place
        self._door: Door | None = None
        self._made: dict[str, Mode] = {}

    def later(self, name: str) -> LaterMode:
        """Return a mode whose runs end later, by its name."""
        return cast(LaterMode, self.get(name))

    def get(self, name: str) -> Mode:
        """Return a mode by its name; not ``greenlet``."""
        mode = self._made.get(name)
        if mode is None:
            mode = self._made[name] = self._make(name)
        return mode

    def close(self) -> None:
        """End all of them, and what they share."""
        for mode in self._made.values():
            mode.close()
        self._made.clear()
        if self._door is not None:
            self._door.close()
            self._door = None
        self.place.close()

    def fall_silent(self) -> None:
        """Do nothing more for code elsewhere: this is the copy of a worker in a forked child."""
        if self._door is not None:
            self._door.fall_silent()
        processes = self._made.get(PROCESS)
        if isinstance(processes, ProcessMode):
            processes.fall_silent()

    def _make(self, name: str) -> Mode:
        settings = self._settings
        if self._door is None:
            self._door = Door()
        if name == ASYNCIO:
            return LoopMode(self.place, self._door)
        if name == THREAD:
            return ThreadMode(settings.thread_pool_size, self.place, self._door)
        size = settings.process_pool_size or available_cores()
        return ProcessMode(size, self.place, settings)
