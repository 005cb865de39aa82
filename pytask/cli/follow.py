"""``pytask events``: what tasks say, while they say it."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.errors import CommandFailed, ExitCode
from pytask.cli.options import json_option, option
from pytask.cli.output import as_text, decoded, echo_json
from pytask.cli.session import client_command
from pytask.messages import LAST_EVENTS, read_message
from pytask.records import shown
from pytask.states import READY

if TYPE_CHECKING:
    from pytask.events import Message, Subscription
    from pytask.helpers import PyTaskHelpers

_GLOB = re.compile(r"[*?\[]")
_GLOB_CHARACTERS = re.compile(r"([*?\[\]\\])")


@click.command(epilog="Example: pytask events -f 'report-*' --json")
@click.argument("target", metavar="[ID|PATTERN]", default="*")
@option("-f", "--follow", is_flag=True, help="Go on after the task has ended.")
@option("--count", type=click.IntRange(min=1), metavar="NUMBER", help="End after so many events.")
@json_option
@client_command
def events(
    helpers: PyTaskHelpers, target: str, follow: bool, count: int | None, as_json: bool
) -> None:
    """Write the events of tasks as they come, one per line.

    An ID names one task; the command ends when that task does, unless --follow is given. A pattern
    with *, ? or [] stands for many, and nothing for all of them; they are followed until Ctrl-C.
    Events are not stored: those from before are gone.
    """
    is_pattern = _GLOB.search(target) is not None
    feed = _subscribe(helpers, target, is_pattern)
    seen = 0
    try:
        if not is_pattern and not follow and _has_ended(helpers, target, as_json):
            return
        generation = feed.generation
        while count is None or seen < count:
            message = feed.get(1.0)
            event = _read(helpers, message) if message is not None else None
            if event is not None:
                seen += 1
                _echo(event, as_json)
            if is_pattern or follow:
                continue
            if event is not None and event["event"] in LAST_EVENTS:
                # The task may have emitted an event of that name itself.
                if _is_over(helpers, target):
                    return
            elif feed.generation != generation:
                generation = feed.generation
                if _has_ended(helpers, target, as_json):
                    return
    except KeyboardInterrupt:
        # The usual way to end it.
        return
    finally:
        feed.close()


def _subscribe(helpers: PyTaskHelpers, target: str, is_pattern: bool) -> Subscription:
    from pytask.events import Subscription

    # A subscription keeps trying silently; this call says it when Redis is not there.
    helpers.store.list_workers()
    link = helpers.connector.link()
    if is_pattern:
        prefix = _GLOB_CHARACTERS.sub(r"\\\1", helpers.settings.task_prefix)
        feed = Subscription(link, patterns=[prefix + target])
    else:
        feed = Subscription(link, channels=[helpers.keys.events_channel(target)])
    if not feed.wait_ready(helpers.settings.redis_patience):
        feed.close()
        raise CommandFailed(
            f"Redis at {helpers.connector.description} does not confirm the subscription; is "
            "this user allowed to subscribe?",
            ExitCode.REDIS,
        )
    if sys.stderr.isatty():
        click.echo(f"listening to {target}; Ctrl-C ends it", err=True)
    return feed


def _read(helpers: PyTaskHelpers, message: Message) -> dict[str, Any] | None:
    """Return the event in a message; None for a control message, which a pattern matches too."""
    task_id = message.channel.removeprefix(helpers.settings.task_prefix)
    read = read_message(task_id, message.data)
    if read is None:
        return None
    event, _ = read
    return {"time": time.time(), "id": task_id, "event": event.name, "data": event.data}


def _has_ended(helpers: PyTaskHelpers, task_id: str, as_json: bool) -> bool:
    """Tell whether a task has ended; if so, write its end, which nobody heard."""
    state, task, output = helpers.get_task(task_id, ["state", "task", "output"])
    if state is None and task is None:
        raise CommandFailed(
            f"task {task_id} has no record: it was removed, cleaned up after its end, or never "
            "started; --follow waits for it all the same"
        )
    if state not in READY:
        return False
    event = {"time": time.time(), "id": task_id, "event": str(state).lower()}
    _echo({**event, "data": decoded(output)}, as_json)
    return True


def _is_over(helpers: PyTaskHelpers, task_id: str) -> bool:
    state, task = helpers.get_task(task_id, ["state", "task"])
    return state in READY or (state is None and task is None)


def _echo(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(event)
        return
    at = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    data = "" if event["data"] is None else as_text(event["data"])
    click.echo(shown(f"{at}  {event['id']}  {event['event']}  {data}".rstrip()))
