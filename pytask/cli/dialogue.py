"""What commands ask a person, and what they say of each task that was named."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

import click

from pytask.cli.errors import CommandFailed, ExitCode, say_error
from pytask.cli.options import option
from pytask.cli.output import echo_json

yes_option = option("--yes", is_flag=True, help="Do not ask.")


class Answer(NamedTuple):
    """What became of one task.

    Attributes:
        task_id: Which task.
        is_done: Whether it is now as was asked.
        text: How it is, or why not.
        code: The result code, if the program is told more than the person.
    """

    task_id: str
    is_done: bool
    text: str
    code: str | None = None


def confirm(question: str, *, facts: str, verb: str, refusal: str) -> None:
    """Ask before many tasks are changed.

    Args:
        question: What is asked on a terminal.
        facts: What there is to change, said where nobody can be asked.
        verb: What would be done to them.
        refusal: Said when the answer is no.

    Raises:
        CommandFailed: Nobody can be asked, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise CommandFailed(
            f"{facts}; nobody can be asked here, so say --yes to {verb} them", ExitCode.USAGE
        )
    if not click.confirm(question, err=True):
        raise CommandFailed(refusal)


def report_each(verb: str, answers: Iterable[Answer], as_json: bool) -> ExitCode:
    """Write what became of each task; one that failed does not keep the others from it."""
    result = ExitCode.OK
    for task_id, is_done, text, code in answers:
        if as_json:
            told = {} if code is None else {"code": code}
            echo_json({"id": task_id, "ok": is_done, **told, "message": text})
        elif is_done:
            click.echo(f"{task_id}: {text}")
        if not is_done:
            say_error(f"cannot {verb} task {task_id}: {text}")
            result = ExitCode.PARTLY
    return result
