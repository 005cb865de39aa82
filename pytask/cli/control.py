"""``pytask stop``, ``reload``, ``restart`` and ``remove``: one line for each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from pytask.cli.dialogue import Answer, report_each
from pytask.cli.errors import ExitCode
from pytask.cli.options import json_option, option
from pytask.cli.session import client_command
from pytask.records import check_task_id
from pytask.states import Code, State

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers

_task_ids = click.argument("task_ids", metavar="ID…", nargs=-1, required=True)

_MISSING = "there is no such task; `pytask list` shows those there are"
_BAD_TYPE = "its key holds something that is no task; look with redis-cli"

_ANSWERS: dict[str, dict[Code, str]] = {
    "stop": {
        Code.OK: "stopped",
        Code.ALREADY: "was stopped before",
        Code.SENT: "is being stopped by its worker",
        Code.WRONG_STATE: "has ended already; there is nothing to stop",
    },
    "reload": {
        Code.SENT: "is being reloaded by its worker",
        Code.WRONG_STATE: "is not running; its next start reads fresh data anyway",
    },
    "restart": {
        Code.OK: "waits to be started",
        Code.ALREADY: "waits to be started",
        Code.EXISTS: "is waiting or running already",
        Code.WRONG_STATE: "is in none of the states given with --if-state",
    },
    "remove": {
        Code.OK: "removed",
        Code.WRONG_STATE: "is running; stop it first, or use --force",
    },
}


@click.command(epilog="Example: pytask stop 3f2b… 9c41…")
@_task_ids
@json_option
@client_command
def stop(helpers: PyTaskHelpers, task_ids: tuple[str, ...], as_json: bool) -> int:
    """Stop tasks: at once if they wait, through their workers if they run.

    Exit code 1 if one of them could not be stopped.
    """
    return _each("stop", helpers.store.stop, task_ids, as_json)


@click.command(epilog="Example: pytask reload 3f2b…")
@_task_ids
@json_option
@client_command
def reload(helpers: PyTaskHelpers, task_ids: tuple[str, ...], as_json: bool) -> int:
    """Have running tasks stopped and started anew with the data in their records.

    Exit code 1 if one of them is not running.
    """
    return _each("reload", helpers.store.reload, task_ids, as_json)


@click.command(epilog="Example: pytask restart --if-state ERROR --if-state EXCEPTION 3f2b… 9c41…")
@_task_ids
@option(
    "--if-state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State], case_sensitive=False),
    help="Only if it is in this state; may be repeated.",
)
@json_option
@client_command
def restart(
    helpers: PyTaskHelpers, task_ids: tuple[str, ...], states: tuple[str, ...], as_json: bool
) -> int:
    """Put stopped or ended tasks back on their queues; those that wait or run are left alone.

    Exit code 1 if one of them could not be restarted.
    """
    allowed = [State(state) for state in states]
    store = helpers.store
    return _each("restart", lambda task_id: store.restart(task_id, allowed), task_ids, as_json)


@click.command(epilog="Example: pytask remove --force 3f2b…")
@_task_ids
@option("--force", is_flag=True, help="Remove a running task too; its worker then stops it.")
@json_option
@client_command
def remove(helpers: PyTaskHelpers, task_ids: tuple[str, ...], force: bool, as_json: bool) -> int:
    """Forget tasks and their records.

    Exit code 1 if one of them could not be removed.
    """
    store = helpers.store
    return _each("remove", lambda task_id: store.remove(task_id, force), task_ids, as_json)


def _each(
    verb: str, call: Callable[[str], Code], task_ids: Sequence[str], as_json: bool
) -> ExitCode:
    for task_id in task_ids:
        check_task_id(task_id)
    answers = {Code.MISSING: _MISSING, Code.BAD_TYPE: _BAD_TYPE, **_ANSWERS[verb]}

    def answer(task_id: str) -> Answer:
        code = call(task_id)
        text = answers.get(code, code.name.lower())
        return Answer(task_id, code > 0 or code is Code.EXISTS, text, code.name)

    return report_each(verb, map(answer, task_ids), as_json)
