"""A supervisor that keeps several worker processes alive.

It is what ``pytask worker --processes N`` becomes, and :meth:`pytask.PyTask.run` of an app with
``processes``.

The workers are started as programs, not forked: a fork of a process that runs greenlets would copy
them. Each is in a session of its own, so that a Ctrl-C reaches the supervisor alone, which passes
it on once: workers take a second signal for haste. Each reads the end of a pipe that only the
supervisor can write to; when the supervisor dies, even by ``kill -9``, the pipe closes, and the
worker ends itself (:func:`watch_lifeline`).
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import gevent
from gevent import monkey
from gevent.event import Event
from gevent.pool import Group

from pytask.concurrency.commands import describe_end
from pytask.worker.signals import ending_signals

logger = logging.getLogger("pytask.processes")

#: The exit code of a worker that is to be replaced by a fresh one.
RECYCLED = 6
#: Others that are told apart here: those of the command line.
_OK, _PARTLY, _USAGE, _INTERRUPTED = 0, 1, 2, 130

#: Tells a process the descriptor of its lifeline, and that it has a supervisor.
_LIFELINE = "PYTASK_LIFELINE"
#: Tells it the server that all processes share, if their supervisor has started one.
_REDIS = "PYTASK_LIFELINE_REDIS"

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How a process ends that gets one of these before it has begun to work.
_ENDED_BY_REQUEST = (RECYCLED, *(-number for number in _ENDING), _INTERRUPTED)


class Processes:
    """Starts processes, starts those again that crash, and ends when all have ended.

    A process that ends well, because somebody signalled it alone, is not started again. One that
    ends with a usage error would do so for ever, so that ends the others as well. One that has run
    ``max_tasks`` tasks is replaced at once.

    Args:
        command: What to start.
        count: How many.
        environment: Added to the environment of each.
    """

    #: Seconds until a crashed process is started again; doubles with each crash in a row.
    min_delay = 0.5
    max_delay = 30.0
    #: A process that lived for so many seconds was healthy: the delay starts over.
    healthy_seconds = 60.0

    def __init__(
        self, command: Sequence[str], count: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = list(command)
        self._count = count
        self._environment = {**os.environ, **(environment or {})}
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._stopping = Event()
        self._codes: list[int] = []

    def run(self) -> int:
        """Keep the processes alive until SIGINT, SIGTERM or SIGHUP, and return an exit code.

        Returns:
            0 if all ended well, 2 if the command line or the app is wrong, 1 otherwise.
        """
        watchers = [
            gevent.signal_handler(number, self.forward, number)
            for number in (*ending_signals(), signal.SIGUSR1)
        ]
        lifeline, held = os.pipe()
        keepers = Group()
        try:
            for slot in range(self._count):
                keepers.spawn(self._keep, slot, lifeline)
            keepers.join()
        finally:
            os.close(held)
            os.close(lifeline)
            for watcher in watchers:
                watcher.cancel()
        if _USAGE in self._codes:
            return _USAGE
        return _OK if not any(self._codes) else _PARTLY

    def forward(self, number: signal.Signals) -> None:
        """Pass a signal on to all processes; all but SIGUSR1 also end the restarts."""
        if number in _ENDING and not self._stopping.is_set():
            logger.info(
                "%s: passed on to %s worker processes; the supervisor ends with the last of them",
                number.name,
                len(self._running),
            )
            self._stopping.set()
        for process in list(self._running.values()):
            process.send_signal(number)

    def _keep(self, slot: int, lifeline: int) -> None:
        delay = self.min_delay
        while not self._stopping.is_set():
            began_at = time.monotonic()
            code = self._run_one(slot, lifeline)
            if self._stopping.is_set() or code in (_OK, _USAGE):
                self._codes.append(0 if code in _ENDED_BY_REQUEST else code)
                if code == _USAGE:
                    self.forward(signal.SIGTERM)
                return
            if code == RECYCLED:
                logger.info("worker process %s has run max_tasks tasks; a new one follows", slot)
                delay = self.min_delay
                continue
            if time.monotonic() - began_at > self.healthy_seconds:
                delay = self.min_delay
            logger.error(
                "worker process %s %s; it is started again in %.1f s",
                slot,
                describe_end(code),
                delay,
            )
            self._stopping.wait(delay)
            delay = min(self.max_delay, 2 * delay)

    def _run_one(self, slot: int, lifeline: int) -> int:
        process = subprocess.Popen(
            self._command,
            env={**self._environment, _LIFELINE: str(lifeline)},
            stdin=subprocess.DEVNULL,
            pass_fds=[lifeline],
            start_new_session=True,
        )
        self._running[slot] = process
        logger.info("worker process %s has pid %s", slot, process.pid)
        try:
            if self._stopping.is_set():
                # The signal came while it was being started.
                process.send_signal(signal.SIGTERM)
            return process.wait()
        finally:
            del self._running[slot]


class Supervision(NamedTuple):
    """What a process was told by its supervisor."""

    #: URL of the server that all processes share, or empty.
    redis: str


_supervision: Supervision | None = None


def join_supervisor() -> Supervision | None:
    """End with the supervisor that has started this process, if one has; return what it told."""
    global _supervision
    # Not for the processes that tasks start.
    descriptor = os.environ.pop(_LIFELINE, "")
    if descriptor:
        _supervision = Supervision(os.environ.pop(_REDIS, ""))
        watch_lifeline(int(descriptor))
    return _supervision


def run_program_in_processes(count: int, redis: str | None) -> None:
    """Start this program so often, with the command line it was started by, until a signal.

    Args:
        count: How many processes.
        redis: The embedded server they are to share; None: there is none.

    Raises:
        SystemExit: Not all ended well.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    code = Processes(command, count, {_REDIS: redis} if redis else None).run()
    if code:
        raise SystemExit(code)


def watch_lifeline(descriptor: int, patience: float = 10.0) -> None:
    """End this process soon after the other end of a pipe is closed.

    First like an operator would, so that tasks go back to their queues at once; if that does not
    help, by force. A thread of the operating system does it: greenlets may be stuck.

    Args:
        descriptor: The reading end.
        patience: Seconds between the polite way and force.
    """
    os.set_inheritable(descriptor, False)
    start_thread = monkey.get_original("_thread", "start_new_thread")
    start_thread(_outlive_nobody, (descriptor, patience))


def _outlive_nobody(descriptor: int, patience: float) -> None:
    read = monkey.get_original("os", "read")
    sleep = monkey.get_original("time", "sleep")
    try:
        while read(descriptor, 1):
            pass
    except OSError:
        pass
    sys.stderr.write("the supervisor of this worker has died: it ends, too\n")
    for number, seconds in (
        (signal.SIGTERM, min(1.0, patience)),
        (signal.SIGINT, patience),
        (signal.SIGKILL, 0.0),
    ):
        os.kill(os.getpid(), number)
        sleep(seconds)
