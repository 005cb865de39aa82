"""The one retry loop of pytask.

redis-py's own retries are off: they send a command again although the first one may have been
executed. What is repeated here is safe to repeat, because the caller keeps the same request id
or token for every attempt.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from pytask.exceptions import RedisUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Patience:
    """How long, and in which steps, a request is repeated while Redis is away.

    Attributes:
        seconds: The budget. None repeats for ever, 0 tries once.
        base: Upper bound of the first pause, in seconds; it doubles with each attempt.
        cap: Upper bound of every pause, in seconds.
    """

    __slots__ = ("base", "cap", "seconds")

    def __init__(self, seconds: float | None, base: float = 0.05, cap: float = 1.0) -> None:
        self.seconds = seconds
        self.base = base
        self.cap = cap

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number ``attempt`` (the first is 0).

        The whole range below the bound is used, so that a fleet that lost Redis at the same
        instant does not come back at the same instant.
        """
        bound = min(self.cap, self.base * 2 ** min(attempt, 32))
        return random.uniform(0.0, bound)

    def __repr__(self) -> str:
        return f"Patience({self.seconds}, base={self.base}, cap={self.cap})"


def retrying(
    call: Callable[[], T],
    patience: Patience,
    give_up: Callable[[], bool] | None = None,
) -> T:
    """Call ``call`` until it answers, the budget is spent or ``give_up`` says so.

    Args:
        call: The request; it must be safe to repeat.
        patience: The budget and the pauses.
        give_up: Asked before each repeat; true ends the attempts early, for example because the
            worker shuts down.

    Returns:
        What ``call`` returned.

    Raises:
        RedisUnavailable: The last one, once the attempts are over. Whether the request was
            executed is then unknown. Every other exception of ``call`` passes at once.
    """
    try:
        return call()
    except RedisUnavailable as error:
        return _keep_trying(call, patience, give_up, error)


def _keep_trying(
    call: Callable[[], T],
    patience: Patience,
    give_up: Callable[[], bool] | None,
    error: RedisUnavailable,
) -> T:
    # The budget counts from the first failure: a first attempt that hung until its time-out
    # must not use up the repeats.
    started_at = time.monotonic()
    attempt = 0
    while True:
        left = None if patience.seconds is None else patience.seconds - _since(started_at)
        if (left is not None and left <= 0) or (give_up is not None and give_up()):
            raise error
        pause = patience.pause(attempt)
        if left is not None:
            pause = min(pause, left)
        logger.debug("Redis unavailable: %s; next attempt in %.2f s", error, pause)
        time.sleep(pause)
        if give_up is not None and give_up():
            raise error
        attempt += 1
        try:
            return call()
        except RedisUnavailable as again:
            error = again


def _since(instant: float) -> float:
    return time.monotonic() - instant
