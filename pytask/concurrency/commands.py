"""Starts programs from the hub, and waits for them without blocking it.

gevent's ``Popen`` forks, so that hooks of ``os.fork`` run in a copy of a process that may hold tens
of thousands of greenlets. ``posix_spawn`` copies nothing and calls no hooks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import gevent
from gevent import get_hub
from gevent.event import AsyncResult
from gevent.os import make_nonblocking, nb_read

from pytask.shell import (
    Command,
    CommandResult,
    command_line,
    end_group,
    environment_with,
    result_of,
    timed_out,
)

_CHUNK = 1 << 16
#: Signals that Python ignores and programs do not.
_DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ)


class Program:
    """A program that was started; the leader of a session of its own.

    Args:
        words: Its command line.
        stdin: Descriptor it reads from.
        channel: Descriptor it gets as its fourth one, number 3.
        env: Its environment; None: ours.

    Attributes:
        pid: Its process ID.
        out: Descriptor to read its stdout from; not blocking.
        err: The same for stderr.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        stdin: int,
        channel: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.out, out = os.pipe()
        try:
            self.err, err = os.pipe()
        except OSError:
            # There are no more descriptors, so these are wanted back.
            os.close(self.out)
            os.close(out)
            raise
        ends = [stdin, out, err] if channel is None else [stdin, out, err, channel]
        try:
            self.pid = os.posix_spawn(
                words[0],
                list(words),
                os.environ if env is None else env,
                file_actions=[(os.POSIX_SPAWN_DUP2, end, to) for to, end in enumerate(ends)],
                setsid=True,
                setsigdef=_DEFAULTS,
            )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(out)
            os.close(err)
        make_nonblocking(self.out)
        make_nonblocking(self.err)
        self._owner = os.getpid()
        self._code: AsyncResult[int] = AsyncResult()
        # The loop reaps all children once anybody uses gevent's way to start one. It looks only
        # when it turns, so that the watcher comes in time.
        loop: Any = get_hub().loop
        loop.install_sigchld()
        self._watcher = loop.child(self.pid)
        self._watcher.start(self._on_end, self._watcher)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end and return its exit code, negative for a signal; None: not yet."""
        self._code.wait(timeout)
        return self._code.value

    @property
    def has_ended(self) -> bool:
        return bool(self._code.ready())

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, even if the loop has not turned since."""
        if self.has_ended:
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    @property
    def _is_ours(self) -> bool:
        # A forked copy of the worker ends its greenlets, but nothing of the worker's.
        return not self.has_ended and os.getpid() == self._owner

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._is_ours:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """Kill it and what it has started."""
        if self._is_ours:
            end_group(self.pid)

    def close(self) -> None:
        """Close what its outputs are read from."""
        for descriptor in (self.out, self.err):
            with suppress(OSError):
                os.close(descriptor)

    def _on_end(self, watcher: Any) -> None:
        status = watcher.rstatus
        watcher.stop()
        watcher.close()
        self._code.set(os.waitstatus_to_exitcode(status))


def run_command(
    command: Command,
    *,
    check: bool = True,
    timeout: float | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> CommandResult:
    """Run a command in this greenlet; others go on.

    Raises:
        CommandFailed: It ended with another code than 0, or took too long.
    """
    words = command_line(command, cwd)
    lifeline, held = os.pipe()
    try:
        program = Program(words, stdin=lifeline, env=environment_with(env))
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(lifeline)
    readers = [gevent.spawn(read_all, one) for one in (program.out, program.err)]
    late = gevent.Timeout(timeout)
    try:
        with late:
            code = program.wait()
        # Whoever still holds the outputs is ended, or they would never end.
        end_group(program.pid)
        gevent.joinall(readers)
    except gevent.Timeout as error:
        if error is not late:
            raise
        raise timed_out(command, timeout or 0) from None
    finally:
        # Its own guard keeps the group until then, so that the number is nobody else's.
        program.kill_group()
        os.close(held)
        gevent.killall(readers, block=False)
        get_hub().loop.run_callback(program.close)
    out, err = (reader.value or b"" for reader in readers)
    return result_of(command, code or 0, out, err, check)


def chunks_of(descriptor: int) -> Iterator[bytes]:
    """Yield what comes out of a pipe, and let others have their turn while there is ever more."""
    while chunk := nb_read(descriptor, _CHUNK):
        yield chunk
        gevent.sleep(0)


def read_all(descriptor: int) -> bytes:
    """Return all that comes out of a pipe until it is closed."""
    return b"".join(chunks_of(descriptor))


def describe_end(code: int) -> str:
    """Say how a process ended, from its exit code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    hint = "; the kernel does that for want of memory" if -code == signal.SIGKILL else ""
    return f"was ended by signal {name}{hint}"
