"""Threads of a library that may, or may not, have been patched by gevent.

Where gevent has patched the standard library, what looks like a thread is a greenlet of the native
thread that starts it, and sockets belong to the native thread that opened them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable


def is_patched() -> bool:
    """Return whether gevent has patched threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def home() -> tuple[int, int]:
    """Return a name for the place where a listener of the caller has to live."""
    return (os.getpid(), threading.get_native_id() if is_patched() else 0)


def start_thread(function: Callable[[], object], name: str) -> None:
    """Run a function beside the caller, in a thread or greenlet that holds up no exit."""
    threading.Thread(target=_run, args=(function,), name=name, daemon=True).start()


def _run(function: Callable[[], object]) -> None:
    try:
        function()
    except KeyboardInterrupt as error:
        if not is_patched():
            raise
        # A Ctrl-C arrives in whichever greenlet runs; it is meant for the main one, and would be
        # lost here like any error of a thread.
        sys.modules["gevent"].get_hub().handle_system_error(type(error), error)
