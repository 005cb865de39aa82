"""``pytask failed``: dead letters, listed, retried, dropped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from pytask.cli.dialogue import Answer, confirm, report_each, yes_option
from pytask.cli.errors import CommandFailed, ExitCode
from pytask.cli.options import json_option, option
from pytask.cli.output import echo_json, echo_table
from pytask.cli.session import client_command

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers

#: Failures read at a time.
_PAGE = 100


@click.command(epilog="Example: pytask failed --retry-all --yes")
@option("--retry", multiple=True, metavar="ID", help="Put this one back on its queue; repeatable.")
@option("--retry-all", is_flag=True, help="Put all of them back on their queues.")
@option("--drop", multiple=True, metavar="ID", help="Forget this one; repeatable.")
@option("--drop-all", is_flag=True, help="Forget all of them.")
@yes_option
@option(
    "--number",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    default=100,
    help="List so many at most.  [default: 100]",
)
@option(
    "--after",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    default=0,
    help="Leave out so many, the latest, before.",
)
@json_option
@client_command
def failed(
    helpers: PyTaskHelpers,
    retry: tuple[str, ...],
    retry_all: bool,
    drop: tuple[str, ...],
    drop_all: bool,
    yes: bool,
    number: int,
    after: int,
    as_json: bool,
) -> int | None:
    """List the tasks that failed for good, the latest first; retry or drop them.

    One that was retried meanwhile is left alone. Exit code 1 if a task named is not among them.
    """
    if sum(map(bool, (retry, retry_all, drop, drop_all))) > 1:
        raise CommandFailed(
            "one of --retry, --retry-all, --drop and --drop-all at a time", ExitCode.USAGE
        )
    if retry:
        return _each("retry", retry, helpers.retry_failed, "waits again", as_json)
    if drop:
        return _each("drop", drop, helpers.drop_failed, "dropped", as_json)
    if retry_all or drop_all:
        _all(helpers, retry_all, yes, as_json)
    else:
        _list(helpers, number, after, as_json)
    return None


def _list(helpers: PyTaskHelpers, number: int, after: int, as_json: bool) -> None:
    rows = []
    for at in range(after, after + number, _PAGE):
        wanted = min(_PAGE, after + number - at)
        page = helpers.list_failed(wanted, at)
        for one in page:
            if as_json:
                echo_json(
                    {
                        "id": one.task_id,
                        "task": one.task,
                        "state": one.state,
                        "kept_at": one.kept_at.isoformat(),
                        "reason": one.reason,
                        "output": one.output,
                    }
                )
            else:
                kept_at = f"{one.kept_at.astimezone():%Y-%m-%d %H:%M:%S}"
                rows.append((one.task_id, one.task, one.state, kept_at, one.reason[:200]))
        if not page:
            break
    if not as_json:
        echo_table(("ID", "TASK", "STATE", "KEPT SINCE", "REASON"), rows)


def _each(
    verb: str, ids: Sequence[str], act: Callable[[str], bool], done: str, as_json: bool
) -> ExitCode:
    def answer(task_id: str) -> Answer:
        is_done = act(task_id)
        text = done if is_done else "it is not among the tasks that failed for good"
        return Answer(task_id, is_done, text)

    return report_each(verb, map(answer, ids), as_json)


def _all(helpers: PyTaskHelpers, retry: bool, yes: bool, as_json: bool) -> None:
    word, verb = ("retried", "retry") if retry else ("dropped", "drop")
    if not yes:
        count = helpers.store.count([])["failed"]
        confirm(
            f"{verb.capitalize()} {count} failed tasks?",
            facts=f"{count} tasks have failed",
            verb=verb,
            refusal=f"nothing was {word}",
        )
    act = helpers.retry_all_failed if retry else helpers.drop_all_failed
    changed = act(_show_progress if sys.stderr.isatty() else None)
    if as_json:
        echo_json({word: changed})
    else:
        click.echo(f"{changed} tasks {word}")


def _show_progress(done: int, total: int) -> None:
    click.echo(f"\r{done:,} of {total:,}", nl=done == total, err=True)
