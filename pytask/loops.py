"""A loop for long-lived tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def run_loop(function: Callable[[], Any], interval: float) -> None:
    """Call ``function`` every ``interval`` seconds, for ever.

    The pause is shortened by what the call took, so rounds begin ``interval`` seconds apart; a
    call that takes longer is followed by the next one at once. It does not return: a task that
    is stopped leaves it through :class:`pytask.StopTask`.

    Args:
        function: Called without arguments; what it returns is ignored.
        interval: Seconds from the beginning of one call to the beginning of the next.

    Raises:
        Exception: Whatever ``function`` raises ends the loop.
    """
    while True:
        began_at = time.monotonic()
        function()
        # Looked up at each round: gevent may patch it after this module was imported. The
        # pause of zero still lets the other greenlets run.
        time.sleep(max(0.0, interval - (time.monotonic() - began_at)))
