"""Wait for a condition instead of sleeping for a guess."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds. Only a test that fails takes so long: a machine that is busy with other things must not
#: make one fail.
PATIENCE = 30.0


def wait_until(
    condition: Callable[[], T],
    timeout: float = PATIENCE,
    message: str | Callable[[], str] = "",
    *,
    interval: float = 0.01,
) -> T:
    """Poll until the condition holds.

    Args:
        condition: Called about a hundred times a second; an ``AssertionError``
            counts as "not yet" and is shown if the time runs out.
        timeout: Seconds.
        message: What was awaited, or a function that describes what was found.
        interval: Seconds between two looks.

    Returns:
        The first true value.

    Raises:
        AssertionError: When the time ran out.
    """
    __tracebackhide__ = True
    deadline = time.monotonic() + timeout
    while True:
        cause: AssertionError | None = None
        value = None
        try:
            value = condition()
        except AssertionError as error:
            cause = error
        if value:
            return value
        if time.monotonic() >= deadline:
            break
        time.sleep(interval)
    text = message() if callable(message) else message
    name = getattr(condition, "__name__", repr(condition))
    raise AssertionError(
        f"not within {timeout:g} s: {text or name} (last value: {value!r})"
    ) from cause
