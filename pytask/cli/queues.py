"""``pytask queues``, ``pause``, ``resume`` and ``flush``: queues as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytask.cli.dialogue import confirm, yes_option
from pytask.cli.options import json_option, option
from pytask.cli.output import echo_json, echo_table
from pytask.cli.session import client_command
from pytask.keys import NODE_PREFIX

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers
    from pytask.queues import QueueInfo

_queue = click.argument("queue", metavar="QUEUE")


@click.command(epilog="Example: pytask queues --json")
@option(
    "--no-scan", is_flag=True, help="Do not look through all keys for queues that nobody serves."
)
@json_option
@client_command
def queues(helpers: PyTaskHelpers, no_scan: bool, as_json: bool) -> None:
    """Show each queue: how many tasks wait in it, who takes them, and whether it is paused.

    Delayed tasks are in no queue until they are due; `pytask status` counts them.
    """
    found = helpers.queues(scan=not no_scan).values()
    if as_json:
        for info in found:
            echo_json(info._asdict())
        return
    rows = [(info.name, info.waiting, len(info.consumers), _remark(info)) for info in found]
    echo_table(("QUEUE", "WAITING", "WORKERS", "REMARK"), rows)


def _remark(info: QueueInfo) -> str:
    if info.paused:
        return "paused"
    if info.waiting and not info.consumers:
        is_of_node = info.name.startswith(NODE_PREFIX)
        return "no worker on that node" if is_of_node else "no worker takes tasks from it"
    return ""


@click.command(epilog="Example: pytask pause mail")
@_queue
@json_option
@client_command
def pause(helpers: PyTaskHelpers, queue: str, as_json: bool) -> None:
    """Hold the tasks of QUEUE back until it is resumed; what runs goes on.

    @local stands for the queue of this machine.
    """
    changed = helpers.pause_queue(queue)
    _report(queue, changed, "paused", "was paused before", as_json)


@click.command(epilog="Example: pytask resume mail")
@_queue
@json_option
@client_command
def resume(helpers: PyTaskHelpers, queue: str, as_json: bool) -> None:
    """Let the tasks of QUEUE start again.

    @local stands for the queue of this machine.
    """
    changed = helpers.resume_queue(queue)
    _report(queue, changed, "resumed", "was not paused", as_json)


def _report(queue: str, changed: bool, done: str, before: str, as_json: bool) -> None:
    text = done if changed else before
    if as_json:
        echo_json({"queue": queue, "ok": True, "changed": changed, "message": text})
    else:
        click.echo(f"{queue}: {text}")


@click.command(epilog="Example: pytask flush mail --yes")
@_queue
@yes_option
@json_option
@client_command
def flush(helpers: PyTaskHelpers, queue: str, yes: bool, as_json: bool) -> None:
    """Remove the tasks that wait in QUEUE, with their records.

    What runs, is delayed or was stopped stays. @local stands for the queue of this machine.
    """
    if not yes:
        size = helpers.queue_size(queue)
        confirm(
            f"Remove the {size} tasks that wait in queue {queue}?",
            facts=f"queue {queue} has {size} tasks",
            verb="remove",
            refusal=f"nothing was removed from queue {queue}",
        )
    removed = helpers.flush_queue(queue)
    if as_json:
        echo_json({"queue": queue, "removed": removed})
    else:
        click.echo(f"{queue}: {removed} tasks removed")
