"""``pytask status``, ``show`` and ``list``: what there is, without changing it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.errors import CommandFailed
from pytask.cli.options import Names, json_option, option
from pytask.cli.output import as_text, decoded, echo_json, echo_table
from pytask.cli.session import client_command
from pytask.keys import DEFAULT_QUEUE
from pytask.records import shown
from pytask.serializers import is_msgpack
from pytask.states import State

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers
    from pytask.records import WorkerInfo

#: Fields of a record that hold JSON or MessagePack.
_JSON_FIELDS = ("data", "output", "error")
#: Fields of a record that hold unix seconds.
_TIME_FIELDS = ("created", "started", "ended", "last_update", "expires")

#: A silence that no worker can have kept: it has left the registry.
_LEFT_SECONDS = 1e8

_PLACES = ("waiting", "delayed", "active", "ended", "failed")


@click.command(epilog="Example: pytask status --queues mail,crm --watch 2")
@option("--queues", type=Names(), metavar="NAME,…", help="Count these queues too.")
@option(
    "--watch",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Show it again and again, so often, until interrupted.",
)
@json_option
@client_command
def status(
    helpers: PyTaskHelpers, queues: tuple[str, ...] | None, watch: float | None, as_json: bool
) -> None:
    """Count the tasks by where they are, and list the workers.

    The queues counted are the default one, those of the app, those that workers serve, and those
    named with --queues.
    """
    while True:
        report = read_status(helpers, queues or ())
        if as_json:
            echo_json(report)
        else:
            if watch is not None and sys.stdout.isatty():
                click.clear()
            _show_status(report)
        if watch is None:
            return
        time.sleep(watch)


def read_status(helpers: PyTaskHelpers, queues: tuple[str, ...]) -> dict[str, Any]:
    """Return the counts and the workers in a form that has JSON."""
    store = helpers.store
    workers = store.list_workers()
    names = [DEFAULT_QUEUE, *helpers.settings.queues, *queues]
    for worker in workers:
        names += worker.queues
    waiting = {name: store.count_waiting(name) for name in dict.fromkeys(names)}
    counts = store.count([])
    return {
        "redis": helpers.connector.description,
        "queues": waiting,
        "counts": {**counts, "waiting": sum(waiting.values())},
        "workers": [_worker_status(worker) for worker in workers],
    }


def _worker_status(worker: WorkerInfo) -> dict[str, Any]:
    # A worker that ended well has its last beat set to the beginning of time.
    has_left = worker.silent_for > _LEFT_SECONDS
    return {
        **worker.details,
        "id": worker.worker,
        "alive": worker.alive,
        "left": has_left,
        "silent_for": None if has_left else round(worker.silent_for, 3),
    }


def _show_status(report: dict[str, Any]) -> None:
    click.echo(f"Redis\t{report['redis']}")
    click.echo()
    rows = [(f"waiting in {queue}", count) for queue, count in report["queues"].items()]
    rows += [(place, n) for place, n in report["counts"].items() if place != "waiting"]
    echo_table(("TASKS", "COUNT"), rows)
    click.echo()
    columns = ("id", "host", "pid", "running", "concurrency", "queues", "version")
    # What plug-ins say; their names precede a dot, which no other field has.
    said = [
        " ".join(f"{name}={text}" for name, text in worker.items() if "." in name and text)
        for worker in report["workers"]
    ]
    last = ("LAST BEAT", "PLUG-INS") if any(said) else ("LAST BEAT",)
    echo_table(
        ("WORKER", *(name.upper() for name in columns[1:]), *last),
        [
            (*(worker.get(name, "") for name in columns), _last_beat(worker), said[index])[
                : len(columns) + len(last)
            ]
            for index, worker in enumerate(report["workers"])
        ],
    )


def _last_beat(worker: dict[str, Any]) -> str:
    if worker["left"]:
        return "has left"
    return f"{worker['silent_for']:.1f} s ago" + ("" if worker["alive"] else ", dead")


@click.command(epilog="Example: pytask show 3f2b… --json")
@click.argument("task_id", metavar="ID")
@json_option
@client_command
def show(helpers: PyTaskHelpers, task_id: str, as_json: bool) -> None:
    """Show the record of a task: its state, data, output and history.

    Exit code 1 if there is none.
    """
    record = helpers.get_task(task_id)
    if not record:
        raise CommandFailed(
            f"task {task_id} has no record: it was removed, cleaned up after its end, or never "
            "started; `pytask list` shows the tasks there are"
        )
    if as_json:
        values = {name: decoded(text) for name, text in record.items() if name in _JSON_FIELDS}
        echo_json({"id": task_id, "state": State.WAIT, **record, **values})
        return
    first = ("task", "state", "data", "output")
    ordered = {"id": task_id, "state": record.get("state", State.WAIT.value)}
    ordered |= {name: record[name] for name in first if name in record}
    ordered |= dict(sorted(record.items()))
    width = max(map(len, ordered))
    for name, text in ordered.items():
        line = f"{name:<{width}}  {_readable(name, text, ' ' * (width + 2))}"
        click.echo(shown(line, keep="\n"))


def _readable(name: str, text: str, indent: str) -> str:
    if name == "output" or (name == "data" and is_msgpack(text)):
        # A traceback is stored as JSON text; its lines are worth more than its quotes.
        text = as_text(decoded(text))
    if name in _TIME_FIELDS:
        try:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(text)))
        except (ValueError, OverflowError, OSError):
            return text
        return f"{at}  ({text})"
    return text.replace("\n", "\n" + indent)


@click.command("list", epilog="Example: pytask list failed --ids | xargs pytask restart")
@click.argument("places", metavar="[PLACE]…", nargs=-1, type=click.Choice(_PLACES))
@option("--state", type=click.Choice([state.value for state in State], case_sensitive=False))
@option("--queues", type=Names(), metavar="NAME,…", help="Which queues are meant by waiting.")
@option(
    "--limit", type=click.IntRange(1, sys.maxsize), default=100, help="Stop after so many tasks."
)
@option("--ids", "only_ids", is_flag=True, help="Write the IDs only.")
@json_option
@client_command
def list_tasks(
    helpers: PyTaskHelpers,
    places: tuple[str, ...],
    state: str | None,
    queues: tuple[str, ...] | None,
    limit: int,
    only_ids: bool,
    as_json: bool,
) -> None:
    """List tasks: those in the places named, or all.

    The places are waiting, delayed, active (running, stopped, or kept after their end), ended
    (awaiting Cleanup) and failed (kept for you to look at).
    """
    found = _list_ids(helpers, places or _PLACES, queues or helpers.settings.queues)
    if only_ids and state is None:
        rows: Iterator[dict[str, Any]] = ({"id": task_id} for task_id, _ in found)
    else:
        rows = _with_state(helpers, found, state)
    limited = islice(rows, limit)
    if as_json or only_ids:
        for row in limited:
            if as_json:
                echo_json(row)
            else:
                click.echo(row["id"])
        return
    columns = ("id", "task", "state", "place")
    table = [[row[name] or "" for name in columns] for row in limited]
    echo_table([name.upper() for name in columns], table)


def _with_state(
    helpers: PyTaskHelpers, found: Iterator[tuple[str, str]], state: str | None
) -> Iterator[dict[str, Any]]:
    from pytask.store.reading import READ_BATCH

    while batch := list(islice(found, READ_BATCH)):
        ids = [task_id for task_id, _ in batch]
        fields = helpers.store.read_columns(ids, ("task", "state"))
        for task_id, place in batch:
            task, is_in = fields[task_id] or (None, None)
            # What is no task has no state, but stands where it stands.
            is_in = is_in or State.WAIT.value if fields[task_id] else None
            if state is None or is_in == state.upper():
                yield {"id": task_id, "task": task, "state": is_in, "place": place}


def _list_ids(
    helpers: PyTaskHelpers, places: tuple[str, ...], queues: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    store = helpers.store
    for place in dict.fromkeys(places):
        if place == "waiting":
            for queue in queues:
                where = place if queue == DEFAULT_QUEUE else f"{place} in {queue}"
                yield from ((task_id, where) for task_id in store.iterate_waiting(queue))
        elif place == "delayed":
            yield from ((task_id, place) for task_id, _ in store.iterate_delayed())
        elif place == "active":
            yield from ((task_id, place) for task_id in store.iterate_active())
        elif place == "ended":
            yield from ((task_id, place) for task_id in store.iterate_ended())
        else:
            yield from ((task_id, place) for task_id, _ in store.iterate_failed())


@click.command(epilog="Example: pytask schedules --forget reports/daily")
@option("--forget", metavar="NAME", help="Forget a schedule no worker defines any more.")
@json_option
@client_command
def schedules(helpers: PyTaskHelpers, forget: str | None, as_json: bool) -> None:
    """Show when each schedule is due next, in local time.

    A schedule is known once a worker that defines it has run; and it stays known until it is
    forgotten, though without such a worker it starts nothing.
    """
    if forget is not None:
        if not helpers.store.forget_schedule(forget):
            raise CommandFailed(f"no schedule {forget!r} is known; `pytask schedules` lists them")
        return
    due = helpers.next_scheduled()
    if as_json:
        for name, instant in due.items():
            echo_json({"schedule": name, "due": instant.isoformat()})
        return
    rows = [
        (shown(name), instant.astimezone().strftime("%Y-%m-%d %H:%M:%S %z"))
        for name, instant in sorted(due.items(), key=lambda item: item[1])
    ]
    echo_table(("SCHEDULE", "DUE"), rows)
