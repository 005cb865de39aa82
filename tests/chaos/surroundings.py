"""What single workers have that the others have not: a wrong clock, a link of their own.

Both take something not every machine has. Where it is missing the faults that need it are left
out, and the reason is told.
"""

from __future__ import annotations

from pathlib import Path

from tests.support import netns
from tests.support.clocks import Clock, libfaketime

from .zones import HOST

#: Workers whose wall clock can be set.
_CLOCKED = (0, 1)


class Surroundings:
    """Args: directory: Where files of clocks go. workers: How many there are.

    Attributes:
        clocks: By number of the worker.
        linked: The number of the worker behind a link; None: no such link.
        link: That link.
        reasons: Why there is no ``clock`` or no ``link``.
    """

    def __init__(self, directory: Path, workers: int) -> None:
        self.clocks: dict[int, Clock] = {}
        self.linked: int | None = None
        self.link: netns.Link | None = None
        self.reasons: dict[str, str] = {}
        if libfaketime() is None:
            self.reasons["clock"] = "libfaketime is not installed (apt-get install libfaketime)"
        else:
            for number in _CLOCKED[:workers]:
                self.clocks[number] = Clock(directory / f"clock{number}", "libfaketime", patience=1)
        reason = netns.why_not() if workers > 1 else "one worker is not enough"
        if reason:
            self.reasons["link"] = reason
        else:
            self.linked, self.link = workers - 1, netns.Link()

    def host(self, worker: int) -> str:
        """Return where the proxies of a worker listen."""
        return self.link.host if self.link is not None and worker == self.linked else HOST

    def env(self, worker: int) -> dict[str, str]:
        """Return what is added to the environment of a worker."""
        env = dict(self.clocks[worker].env) if worker in self.clocks else {}
        if self.link is not None and worker == self.linked:
            env["NETWORK"] = self.link.name
        return env

    def heal(self) -> None:
        """Put clocks right, and the link up."""
        for clock in self.clocks.values():
            clock.set(0)
        if self.link is not None:
            self.link.up()

    def close(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None
