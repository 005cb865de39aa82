"""How many cores this process may use, and a number of tasks that is computed from it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

from pytask.exceptions import ConfigurationError

#: Tasks per core that ``"auto"`` stands for.
AUTO = 1_000

_PER_CORE = re.compile(r"(\d+)/core")
#: What the control group of a container allows: microseconds of CPU, per so many microseconds.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores(quota: Path = _QUOTA) -> int:
    """Return the cores this process may use: those of its affinity, at most its CPU quota.

    Args:
        quota: Where the kernel tells the quota; without such a file there is none.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(cores, ceil(int(allowed) / int(period))))
    except (OSError, ValueError):
        return cores  # "max 100000" means no quota


def read_concurrency(given: Any, processes: int = 1) -> int:
    """Return the number of tasks a worker process runs at a time.

    Args:
        given: A number; ``"N/core"``, so many for each core, shared out among the processes;
            ``"auto"``, which is ``"1000/core"``; or a function that is given the number of cores.
        processes: Worker processes that share this machine.

    Raises:
        ConfigurationError: It is none of these, or the function failed or returned no number.
    """
    if isinstance(given, str):
        text = f"{AUTO}/core" if given.strip() == "auto" else given.strip()
        found = _PER_CORE.fullmatch(text)
        if found:
            return ceil(int(found[1]) * available_cores() / max(1, processes))
        raise ConfigurationError(
            f"concurrency={given!r}: a whole number is needed, 'N/core' or 'auto'"
        )
    return _ask(given) if callable(given) else given


def _ask(function: Callable[[int], Any]) -> int:
    try:
        number: Any = function(available_cores())
    except Exception as error:
        raise ConfigurationError(
            f"concurrency={function!r} failed with {type(error).__name__}: {error}"
        ) from error
    if isinstance(number, bool) or not isinstance(number, int):
        raise ConfigurationError(
            f"concurrency={function!r} returned {number!r}: a whole number is needed"
        )
    return number
