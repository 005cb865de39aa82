"""What the exit code of a command means, and the one line it writes when something went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import IntEnum

import click

from pytask.exceptions import (
    ConfigurationError,
    InvalidTask,
    PyTaskException,
    RedisError,
    WrongKeyType,
)


class ExitCode(IntEnum):
    """What a command reports to its caller."""

    #: Done.
    OK = 0
    #: Some of it, or all of it, could not be done.
    PARTLY = 1
    #: The command line, a setting or the app is wrong.
    USAGE = 2
    #: Redis cannot be reached, or does not serve the request.
    REDIS = 3
    #: The task that was waited for did not succeed.
    TASK_FAILED = 5
    #: A worker has run ``max_tasks`` tasks; only its supervisor sees this.
    RECYCLED = 6
    #: The time to wait is over.
    TIMEOUT = 124
    #: Interrupted with Ctrl-C, as shells report it.
    INTERRUPTED = 130


class CommandFailed(click.ClickException):
    """The command cannot go on.

    Args:
        message: What failed, for which task, and what to do.
        code: What the process reports.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.PARTLY) -> None:
        super().__init__(message)
        self.code = code


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; whatever it raises becomes one line on stderr.

    Args:
        command: The command; the integer it returns is its exit code, and it finds its command
            line as the object of its context.
        arguments: Its command line.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # Task IDs need not be UTF-8; they leave the process as they came.
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        result = command.main(
            list(arguments), prog_name="pytask", standalone_mode=False, obj=list(arguments)
        )
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception as error:
        if _wants_traceback(arguments):
            raise
        say_error(_one_line(error))
        return exit_code_of(error)
    return result if isinstance(result, int) else ExitCode.OK


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that tells what kind of trouble an exception is."""
    if isinstance(error, CommandFailed):
        return error.code
    if isinstance(error, click.ClickException):
        return error.exit_code
    if isinstance(error, ConfigurationError | InvalidTask):
        return ExitCode.USAGE
    if isinstance(error, RedisError) and not isinstance(error, WrongKeyType):
        return ExitCode.REDIS
    return ExitCode.PARTLY


def say_error(message: str) -> None:
    """Write one line to stderr."""
    text = " ".join(str(message).split())
    click.echo(f"pytask: {text}", err=True)


def _one_line(error: Exception) -> str:
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "pytask"
        return f"{error.format_message().rstrip('.')}; see `{path} --help`"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, PyTaskException):
        return str(error)
    return f"{type(error).__name__}: {error}; --debug shows where"


def _wants_traceback(arguments: Sequence[str]) -> bool:
    """Tell it from the raw arguments: the error may be that they cannot be parsed."""
    value = os.environ.get("PYTASK_DEBUG", "").lower()
    return "--debug" in arguments or value not in ("", "0", "false", "no", "off")
