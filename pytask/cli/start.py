"""``pytask start``: start a task, and wait for it if asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.errors import CommandFailed, ExitCode, say_error
from pytask.cli.options import ParamType, json_option, option
from pytask.cli.output import as_text, echo_json
from pytask.cli.session import client_command
from pytask.exceptions import TaskFailed, TaskNotFound, WaitTimeout
from pytask.keys import DEFAULT_QUEUE
from pytask.records import check_task_id, from_json, new_task_id
from pytask.states import READY, State

if TYPE_CHECKING:
    from pytask.future import TaskFuture
    from pytask.helpers import PyTaskHelpers

_FOREVER = "forever"


class WaitSeconds(ParamType):
    """Seconds, or ``forever``."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if value == _FOREVER:
            return math.inf
        seconds = _number(str(value))
        if seconds is None or not seconds >= 0:
            self.fail(f"{value!r} is neither a number of seconds nor {_FOREVER!r}", param, ctx)
        return seconds


class Instant(ParamType):
    """A time: ISO 8601, local unless it says otherwise, or Unix seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = _number(str(value))
        if seconds is not None:
            return seconds
        try:
            return datetime.fromisoformat(str(value)).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"{value!r} is no time, for example 2026-11-21T18:00 or 1795284000", param, ctx
            )


class StartCommand(click.Command):
    """Lets ``--wait`` stand alone: what follows is its value only if it is a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = list(args)
        for at, argument in enumerate(args):
            if argument == "--":
                break
            following = args[at + 1] if at + 1 < len(args) else ""
            if argument == "--wait" and following != _FOREVER and _number(following) is None:
                args[at] = f"--wait={_FOREVER}"
        return super().parse_args(ctx, args)


@click.command(
    cls=StartCommand,
    epilog="Example: pytask start mail/send to=ada@example.org copies:=2 --wait 10",
)
@click.argument("name", metavar="NAME")
@click.argument("data", metavar="[KEY=TEXT | KEY:=JSON]…", nargs=-1)
@option("--id", "task_id", metavar="ID", help="ID of the task.  [default: a random one]")
@option(
    "--queue",
    metavar="QUEUE",
    default=DEFAULT_QUEUE,
    help="The queue it waits in; @local is that of this machine.",
)
@option("--delay", type=float, default=0.0, metavar="SECONDS", help="Start it so much later.")
@option(
    "--at",
    type=Instant(),
    metavar="TIME",
    help="Start it no earlier: 2026-11-21T18:00 (local unless it has a zone), or Unix seconds.",
)
@option(
    "--expires",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Revoke it if it has not started by then.",
)
@option("--no-cleanup", is_flag=True, help="Keep its record for ever once it has ended.")
@option(
    "--wait",
    type=WaitSeconds(),
    metavar="[SECONDS]",
    help="Wait for its end, at most so long, and write its output.",
)
@json_option
@client_command
def start(
    helpers: PyTaskHelpers,
    name: str,
    data: tuple[str, ...],
    task_id: str | None,
    queue: str,
    delay: float,
    at: float | None,
    expires: float,
    no_cleanup: bool,
    wait: float | None,
    as_json: bool,
) -> int | None:
    """Start the task NAME and write its ID.

    KEY=TEXT passes text, KEY:=JSON any other value. A task that is waiting or running under the
    same ID already is left alone. With --wait the exit code is 0 if the task succeeded, 5 if it did
    not, and 124 if it goes on when the time is over.
    """
    values = read_data(data)
    task_id = new_task_id() if task_id is None else check_task_id(task_id)
    # Asked first: it also tells whether Redis is there at all, before somebody waits for it.
    is_there = _is_underway(helpers, task_id)
    future = _submit(
        helpers,
        name,
        values,
        task_id=task_id,
        cleanup=not no_cleanup,
        queue=queue,
        delay=delay,
        at=at,
        expires=expires,
        watch=wait is not None,
    )
    if is_there:
        say_error(f"task {future.id} was waiting or running already and was left as it is")
    if not as_json:
        click.echo(future.id)
    elif wait is None:
        echo_json({"id": future.id, "task": name, "started": not is_there})
    return None if wait is None else _wait_for(future, wait, as_json)


def read_data(arguments: Sequence[str]) -> dict[str, Any]:
    """Turn ``key=text`` and ``key:=json`` into the data of a task.

    Raises:
        click.BadParameter: An argument is neither, is no JSON, or repeats a key.
    """
    data: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        is_json = key.endswith(":")
        key = key[:-1] if is_json else key
        if not equals or not key:
            raise click.BadParameter(f"{argument!r} is neither KEY=TEXT nor KEY:=JSON")
        if key in data:
            raise click.BadParameter(f"{key!r} is given twice")
        try:
            data[key] = from_json(text.encode("utf-8", "surrogateescape")) if is_json else text
        except ValueError as error:
            raise click.BadParameter(
                f"{argument!r}: {text!r} is not JSON ({error}); text goes with {key}={text}"
            ) from None
    return data


def _submit(helpers: PyTaskHelpers, name: str, data: Any, **options: Any) -> TaskFuture:
    try:
        return helpers.submit(name, data, **options)
    except WaitTimeout as error:
        raise CommandFailed(
            f"{error}; is this user of Redis allowed to subscribe? The task was not started",
            ExitCode.REDIS,
        ) from error


def _is_underway(helpers: PyTaskHelpers, task_id: str) -> bool:
    state, task = helpers.get_task(task_id, ["state", "task"])
    return (state is not None or task is not None) and state not in READY


def _wait_for(future: TaskFuture, seconds: float, as_json: bool) -> int:
    state: str | None
    try:
        state, output = _result(future, None if math.isinf(seconds) else seconds)
    except TaskNotFound:
        state, output, code = None, None, ExitCode.TASK_FAILED
        say_error(f"task {future.id} was removed while it was waited for")
    except WaitTimeout:
        state, output, code = future.state, None, ExitCode.TIMEOUT
        say_error(
            f"task {future.id} has not ended within {seconds:g} s; it goes on, see "
            f"`pytask show {future.id}`"
        )
    else:
        code = ExitCode.OK if state == State.SUCCESS else ExitCode.TASK_FAILED
        if code is not ExitCode.OK:
            say_error(f"task {future.id} ended as {state}: {_last_line(output)}")
    if as_json:
        echo_json({"id": future.id, "state": state, "output": output})
    elif code is not ExitCode.TIMEOUT:
        click.echo(as_text(output))
    return code


def _result(future: TaskFuture, seconds: float | None) -> tuple[str, Any]:
    try:
        return State.SUCCESS.value, future.result(seconds)
    except TaskFailed as error:
        return error.state, error.output
    except TaskNotFound:
        # It may have ended, and been cleaned up, before its record was looked at.
        for event in future.events(timeout=1.0):
            if event.name.upper() in READY:
                return event.name.upper(), event.data
        raise


def _last_line(output: object) -> str:
    """Return what fits an error line; the end of a traceback is what it was raised for."""
    lines = as_text(output).strip().splitlines()
    return lines[-1] if lines else "without output"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
