"""Hooks around every call to Redis, put there from outside; production code knows nothing of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

BEFORE, AFTER = "before", "after"

#: Told of each call: the point, and whether it is about to be sent or has been answered.
Notice = Callable[[str, str], None]

_LAYERS = ("worker", "tasks", "helpers", "future", "task", "events", "pytask")


class Target(NamedTuple):
    """Where a process has to die: at which occurrence of a point, and on which side of the call."""

    point: str
    phase: str
    occurrence: int


def install(notice: Notice) -> None:
    """Call ``notice`` before and after every request of this process.

    Args:
        notice: Called in whatever greenlet or thread makes the request.
    """
    from pytask.connection.link import Link
    from pytask.connection.node import Feed

    names = _script_names()

    def hooked(method: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **options: Any) -> Any:
            name = name_of(*args)
            if not name:
                return method(self, *args, **options)
            point = f"{_caller()}: {name}"
            notice(point, BEFORE)
            try:
                return method(self, *args, **options)
            finally:
                notice(point, AFTER)

        return call

    def plain(command: Any, *_: Any) -> str:
        # A script comes by evalsha, which is hooked itself.
        name = command.decode() if isinstance(command, bytes) else str(command)
        return "" if name in ("EVALSHA", "EVAL") else name

    Link.execute = hooked(Link.execute, plain)  # type: ignore[method-assign]
    Link.evalsha = hooked(Link.evalsha, lambda sha, *_: names[sha])  # type: ignore[method-assign]
    Link.blocking = hooked(Link.blocking, lambda _, command, *rest: command)  # type: ignore
    Link.pubsub = hooked(Link.pubsub, lambda: "connect for pub/sub")  # type: ignore[method-assign]
    # What goes to each master: SCAN and INFO.
    Link._call = hooked(Link._call, lambda _, args: str(args[0]))  # type: ignore[method-assign]
    Feed.send = hooked(Feed.send, plain)  # type: ignore[method-assign]


def _script_names() -> dict[str, str]:
    """Return the name of each script by its digest, as this process sends them."""
    import pytask
    from pytask.store import calls

    folder = Path(pytask.__file__).parent / "lua"
    return {calls.load(path.stem).sha: path.stem for path in folder.glob("*.lua")}


def _caller() -> str:
    """Return the module that wants something of Redis, below the layers that carry it there."""
    frame = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        package, _, rest = module.partition(".")
        if package == "pytask" and rest.split(".")[0] in _LAYERS:
            return rest
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


def dies_at(target: Target, last_words: Callable[[str], None]) -> Notice:
    """Return a notice that kills this process, without any farewell, when the target is met."""
    left = target.occurrence

    def notice(point: str, phase: str) -> None:
        nonlocal left
        if point == target.point and phase == target.phase:
            left -= 1
            if left <= 0:
                last_words(f"killed {phase} {point}")
                os.kill(os.getpid(), signal.SIGKILL)

    return notice
