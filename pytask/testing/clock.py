"""A clock that tests can move on.

All decisions about time are made by the scripts, on the clock of the server. With a fake clock the
scripts of this process read another one: that of the server, plus what a key says. Delays, retries,
expiry, schedules, retention of failures and the ages of leases follow it. What is timed inside a
worker stays real: the time limit of a run, ``stop_timeout``, heartbeats, and ``time.sleep`` in a
task. So do ``keep_results``, which the server itself keeps, and other processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pytask.connection import connect
from pytask.exceptions import ConfigurationError
from pytask.scripts import read_include, replaced_include
from pytask.store.timetable import Timetable

#: Holds by how many seconds the clock of this process is ahead.
KEY = f"pytask-testing:clock:{secrets.token_hex(6)}"

_SHIFTED = f"""
local real_now = now
now = function()
  return real_now() + tonumber(redis.call('GET', '{KEY}') or 0)
end
"""


class FakeClock:
    """The clock of a test server; a context manager.

    Nothing but the clock moves: what is due then happens when a worker runs the next time.

    Args:
        address: The server, a single one. It is to serve nothing but tests.

    Raises:
        ConfigurationError: It is a cluster.
    """

    def __init__(self, address: Any = "local://") -> None:
        self._connector = connect(address)
        if self._connector.is_cluster:
            raise ConfigurationError("a fake clock needs a single server, not a cluster")
        self._patches: Any = None

    def __enter__(self) -> Self:
        self._link = self._connector.link()
        self._patches = _patched(self)
        self._patches.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._link.execute("DEL", KEY)
        finally:
            self._patches.__exit__(None, None, None)
            self._connector.close()

    @property
    def offset(self) -> float:
        """By how many seconds it is ahead of the server's own."""
        return float(self._link.execute("GET", KEY) or 0)

    def now(self) -> datetime:
        """Return the time, in UTC."""
        seconds, microseconds = self._link.execute("TIME")
        return datetime.fromtimestamp(int(seconds) + int(microseconds) / 1e6 + self.offset, UTC)

    def advance(self, by: float | timedelta) -> None:
        """Move the clock on.

        Args:
            by: Seconds, or a timedelta.

        Raises:
            ValueError: It would go back.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else float(by)
        if not seconds >= 0:
            raise ValueError(f"advance({by!r}): a clock does not go back")
        self._link.execute("INCRBYFLOAT", KEY, repr(seconds))

    def move_to(self, instant: datetime) -> None:
        """Move the clock on to an instant.

        Args:
            instant: A datetime with a time zone.

        Raises:
            ValueError: It has no time zone, or is in the past.
        """
        if instant.tzinfo is None:
            raise ValueError(f"move_to({instant!r}): a datetime with a time zone is needed")
        self.advance(instant - self.now())


@contextmanager
def _patched(clock: FakeClock) -> Iterator[None]:
    plain = Timetable.server_time

    def shifted(self: Timetable) -> float:
        return plain(self) + clock.offset

    with replaced_include("clock", read_include("clock") + _SHIFTED):
        # Schedules ask for the time before they ask a script.
        Timetable.server_time = shifted  # type: ignore[method-assign]
        try:
            yield
        finally:
            Timetable.server_time = plain  # type: ignore[method-assign]
