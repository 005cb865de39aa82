"""Starting a thread from a library that may, or may not, have been patched by gevent.

Where gevent has patched the standard library, what looks like a thread is a greenlet of the native
thread that starts it. That is right for whoever waits in greenlets, and wrong for an event loop of
asyncio: it never gives that greenlet a turn.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def is_patched() -> bool:
    """Return whether gevent has patched threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def home_of(native: bool) -> tuple[int, int]:
    """Return a name for the place where a listener of the caller has to live.

    Args:
        native: The caller is no greenlet; a native thread will do.
    """
    if not is_patched():
        return (os.getpid(), 0)
    if native:
        return (os.getpid(), -1)
    return (os.getpid(), threading.get_native_id())


def start_thread(function: Callable[[], object], name: str, native: bool) -> None:
    """Run a function beside the caller, in a thread or greenlet that holds up no exit.

    Args:
        function: What to run.
        name: For whoever looks at threads.
        native: A native thread even if gevent has patched threads.
    """
    if native and is_patched():
        original = sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")
        original(function, ())
    else:
        threading.Thread(target=function, name=name, daemon=True).start()


def make_lock(native: bool) -> AbstractContextManager[Any]:
    """Return a lock for what :func:`start_thread` started, and whoever speaks to it."""
    if native and is_patched():
        lock: AbstractContextManager[Any] = sys.modules["gevent.monkey"].get_original(
            "_thread", "allocate_lock"
        )()
        return lock
    return threading.Lock()
