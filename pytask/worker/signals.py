"""Turns signals into calls, for as long as a worker runs."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent.local import local
from gevent.util import print_run_info

logger = logging.getLogger(__name__)

#: Of the greenlet that forks: the signals its thread had blocked before.
_forking = local()


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask for the end; not SIGHUP under ``nohup``, which has it ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


class SignalHandlers:
    """SIGINT, SIGTERM and SIGHUP ask for the end, SIGUSR1 for the stacks of all that runs.

    A context manager; the handlers that were there before come back at the end. Signals reach the
    main thread of a process only, so anywhere else this does nothing.

    Args:
        on_stop: Called in a greenlet at each of the first three, with the name of the signal.
        on_stacks: Called in a greenlet at SIGUSR1.
    """

    def __init__(self, on_stop: Callable[[str], None], on_stacks: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._on_stacks = on_stacks
        self._watchers: list[Any] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ending_signals():
            name = signal.Signals(number).name
            self._watch(number, self._on_stop, name)
        self._watch(signal.SIGUSR1, self._on_stacks)

    def __exit__(self, *_: object) -> None:
        while self._watchers:
            self._watchers.pop().cancel()
        for number, handler in self._before.items():
            # The event loop leaves the default action behind, not what Python had set.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _watch(self, number: int, function: Callable[..., Any], *args: Any) -> None:
        self._before[number] = signal.getsignal(number)
        self._watchers.append(gevent.signal_handler(number, function, *args))


def print_stacks(others: Iterable[str]) -> None:
    """Write the stack of every greenlet and thread to stderr, and then the others."""
    print_run_info(file=sys.stderr)
    sys.stderr.writelines(others)
    sys.stderr.flush()


def hold_back_signals() -> None:
    """Let signals wait for the end of a fork.

    Until the child has its own way to take them, it has the handlers of the worker: a signal to the
    child would be noted for an event loop that nobody there listens to, and not end it.
    """
    # gevent does so only once it watches a child, and would miss the end of one that is quicker.
    gevent.get_hub().loop.install_sigchld()
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*ending_signals(), signal.SIGUSR1})


def let_signals_in() -> None:
    """Undo :func:`hold_back_signals`, if that was called; in the parent and in the child."""
    mask = _forking.__dict__.pop("mask", None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def restore_default_signals() -> None:
    """Let signals end this process again; for a forked child, which is no worker."""
    for number in (*ending_signals(), signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
