"""For tests of programs that use pytask: a server, a namespace for each test, a worker, a clock.

With pytest the fixtures of :mod:`pytask.testing.plugin` are there as soon as pytask is installed;
this is what they are made of. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "EmbeddedServer": "pytask.testing.server",
    "FakeClock": "pytask.testing.clock",
    "NotIdle": "pytask.testing.idle",
    "clean_up": "pytask.testing.idle",
    "isolated": "pytask.testing.namespace",
    "run_until_idle": "pytask.testing.idle",
}

__all__ = ["EmbeddedServer", "FakeClock", "NotIdle", "clean_up", "isolated", "run_until_idle"]

if TYPE_CHECKING:
    from pytask.testing.clock import FakeClock
    from pytask.testing.idle import NotIdle, clean_up, run_until_idle
    from pytask.testing.namespace import isolated
    from pytask.testing.server import EmbeddedServer


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'pytask.testing' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
