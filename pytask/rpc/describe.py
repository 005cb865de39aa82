"""Tasks and task classes in a form that has JSON, without what only workers may know."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pytask.helpers import PyTaskHelpers
from pytask.keys import DEFAULT_QUEUE, check_queue_name
from pytask.policy import Policy
from pytask.schedules import Cron, Every, Schedule
from pytask.serializers import decode_value, readable
from pytask.states import State
from pytask.store.reading import READ_BATCH
from pytask.worker.registry import TaskRegistry

#: Tasks of pytask itself, which are no business of clients: a Cleanup imports what its data name,
#: and without a Monitor nobody takes back the tasks of a dead worker.
RESERVED = "pytask/"

#: Fields of a record that clients see. The token of a run is not among them: it is what lets a
#: worker end a task.
_TEXTS = ("task", "worker", "schedule", "from_task")
_JSON = ("data", "output")
_NUMBERS = ("attempts", "retries", "reaps")
_INSTANTS = ("created", "started", "ended", "last_update", "expires")

#: Where tasks of a state may be; of all others, anywhere.
_PLACES_OF = {
    State.WAIT: ("waiting", "delayed"),
    State.RETRY: ("waiting", "delayed"),
    State.RUNNING: ("active",),
}
_PLACES = ("waiting", "delayed", "active", "ended", "failed")


def record(task_id: str, found: Mapping[str, str]) -> dict[str, Any]:
    """Return a record for clients."""
    told: dict[str, Any] = {
        "id": task_id,
        "state": found.get("state") or State.WAIT.value,
        "queue": found.get("queue") or DEFAULT_QUEUE,
    }
    told |= {name: found[name] for name in _TEXTS if name in found}
    told |= {name: _decoded(found[name]) for name in _JSON if name in found}
    for names, kind in ((_NUMBERS, int), (_INSTANTS, float)):
        told |= {name: _number(found[name], kind) for name in names if found.get(name)}
    return told


def _decoded(text: str) -> Any:
    try:
        return readable(decode_value(text))
    except ValueError:
        return text


def _number(text: str, kind: type[int] | type[float]) -> int | float | str:
    try:
        number = kind(text)
    except ValueError:
        return text  # written by hand
    return number if math.isfinite(number) else text


def task_type(registry: TaskRegistry, name: str) -> dict[str, Any]:
    """Return what there is to say about a task class."""
    kind = registry.get(name)
    schedules = [one for one in registry.schedules if one.task == name]
    described = getattr(kind.task_class, "FUNCTION", None) or kind.task_class
    return {
        "name": name,
        "doc": inspect.getdoc(described) if described.__doc__ else None,
        "type": "periodic" if schedules else "regular",
        "concurrency": str(getattr(kind.task_class, "CONCURRENCY", "greenlet")),
        "policy": _policy(kind.policy),
        "schedules": [_schedule(one) for one in schedules],
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {name: _plain(getattr(policy, name)) for name in Policy.__slots__}


def _plain(value: Any) -> Any:
    """Return an option of a policy; functions and classes by their names."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return getattr(value, "__name__", None) or type(value).__name__


def _schedule(schedule: Schedule) -> dict[str, Any]:
    timing = schedule.timing
    told: dict[str, Any] = {"name": schedule.name}
    if isinstance(timing, Cron):
        told |= {"cron": timing.expression, "timezone": timing.timezone}
    elif isinstance(timing, Every):
        told["run_every"] = timing.seconds
    return told


def queues(helpers: PyTaskHelpers) -> list[str]:
    """Return the queues there are: the default one, the app's, and those workers serve."""
    names = [DEFAULT_QUEUE, *helpers.settings.queues]
    for worker in helpers.store.list_workers():
        names += worker.queues
    return list(dict.fromkeys(names))


def waiting(helpers: PyTaskHelpers, queue: str | None) -> int:
    """Return how many tasks wait in a queue; in all of them, and delayed, if it is None."""
    if queue is not None:
        if queue != DEFAULT_QUEUE:
            check_queue_name(queue)
        return helpers.store.count_waiting(queue)
    counts = helpers.store.count(queues(helpers))
    return counts["waiting"] + counts["delayed"]


def page(
    helpers: PyTaskHelpers,
    wanted: Mapping[str, set[str]],
    limit: int,
    start: int,
    most: int,
) -> dict[str, Any]:
    """Return tasks that fit, from a position on.

    Args:
        helpers: Where.
        wanted: Allowed values of ``state``, ``task`` and ``queue``.
        limit: Most tasks.
        start: IDs to skip.
        most: Most records to look at; others wait too.
    """
    position, found = start, dict[str, dict[str, Any]]()
    ids = islice(_ids(helpers, wanted), start, start + most)
    while batch := list(islice(ids, READ_BATCH)):
        # What is no task, whatever stands on the queue, is left out.
        records = helpers.store.read_records(batch)
        for task_id in batch:
            position += 1
            fields = records.get(task_id)
            if fields is None or task_id in found or fields.get("task", "").startswith(RESERVED):
                continue
            task = record(task_id, fields)
            if all(task.get(name) in values for name, values in wanted.items()):
                found[task_id] = task
                if len(found) == limit:
                    return {"tasks": list(found.values()), "cursor": str(position)}
    at_end = position < start + most
    return {"tasks": list(found.values()), "cursor": None if at_end else str(position)}


def _ids(helpers: PyTaskHelpers, wanted: Mapping[str, set[str]]) -> Iterator[str]:
    places = set(_PLACES)
    if "state" in wanted:
        places = {p for one in wanted["state"] for p in _PLACES_OF.get(State(one), _PLACES)}
    store = helpers.store
    if "waiting" in places:
        named = sorted(wanted.get("queue", ()))
        for queue in named or queues(helpers):
            if queue != DEFAULT_QUEUE:
                check_queue_name(queue)
            yield from store.iterate_waiting(queue)
    if "delayed" in places:
        yield from (task_id for task_id, _ in store.iterate_delayed())
    if "active" in places:
        yield from store.iterate_active()
    if "ended" in places:
        yield from store.iterate_ended()
    if "failed" in places:
        yield from (task_id for task_id, _ in store.iterate_failed())
