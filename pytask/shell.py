"""What ``self.shell`` of a task runs: the command line, its result, and its end.

Each command is in a session of its own, whose leader waits for the end of a pipe: when the worker
or the child process that runs the task dies, even by ``kill -9``, the pipe closes, and everything
the command has started is killed. The same happens to what is left when the command has ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryFile

from pytask.exceptions import CommandFailed

Command = str | Sequence[str]

#: Standard input is the pipe. What waits for its end must not hold the outputs open.
_GUARD = (
    "exec 3<&0 </dev/null; (exec >/dev/null 2>&1; read _ <&3; kill -9 0) & "
    'cd -- "$1" || exit 126; shift; exec "$@" 3<&-'
)


@dataclass(frozen=True)
class CommandResult:
    """How a command ended.

    Attributes:
        code: Its exit code; negative: the signal that ended it.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    code: int
    out: str
    err: str


def command_line(command: Command, cwd: str | None) -> list[str]:
    """Return what to start for a command: text goes through the shell, a list does not.

    Raises:
        CommandFailed: There is no such program.
    """
    if isinstance(command, str):
        words = ["/bin/sh", "-c", command]
    else:
        words = [os.fspath(word) for word in command]
        if not words or shutil.which(words[0]) is None:
            raise CommandFailed(command, CommandResult(127, "", "there is no such program"))
    return ["/bin/sh", "-c", _GUARD, "sh", os.fspath(cwd or "."), *words]


def environment_with(more: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return the environment of a command."""
    return {**os.environ, **more} if more else None


def result_of(command: Command, code: int, out: bytes, err: bytes, check: bool) -> CommandResult:
    """Return the result of a command that has ended.

    Raises:
        CommandFailed: ``check`` is set and the code is not zero.
    """
    done = CommandResult(code, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and code:
        raise CommandFailed(command, done)
    return done


def timed_out(command: Command, seconds: float) -> CommandFailed:
    """Return the error of a command that was killed because it took too long."""
    note = f"it ran longer than {seconds:g} s and was killed"
    return CommandFailed(command, CommandResult(-signal.SIGKILL, "", note))


def end_group(pid: int) -> None:
    """Kill everything a command has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def run_here(
    command: Command,
    *,
    check: bool = True,
    timeout: float | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> CommandResult:
    """Run a command and block until it has ended; for processes without a hub.

    Raises:
        CommandFailed: It ended with another code than 0, or took too long.
    """
    words = command_line(command, cwd)
    lifeline, held = os.pipe()
    # Files, because whatever the command leaves in the background would hold pipes open.
    with TemporaryFile() as out, TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                words,
                stdin=lifeline,
                stdout=out,
                stderr=err,
                env=environment_with(env),
                start_new_session=True,
            )
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise timed_out(command, timeout or 0) from None
            finally:
                end_group(process.pid)
                process.wait()
        finally:
            os.close(lifeline)
            os.close(held)
        out.seek(0)
        err.seek(0)
        return result_of(command, process.returncode, out.read(), err.read(), check)
