"""What the parts of the model share: kinds of instants, of states, of records."""

from __future__ import annotations

from typing import Any, NamedTuple

#: Stands for a record whose key holds another type.
FOREIGN: dict[str, Any] = {"foreign": True}
WAITING = ("", "WAIT", "RETRY")
ENDED = ("SUCCESS", "ERROR", "EXCEPTION", "REVOKED")
EXPIRED_OUTPUT = '"expired before it was started"'

Record = dict[str, Any]


class Stamp(NamedTuple):
    """The instant of this step, and so many seconds later; rounded up to a multiple of ``grid``."""

    later: float = 0.0
    grid: float = 0.0


NOW = Stamp()
