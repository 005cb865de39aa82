"""From what a caller asks for to a task that can be stored, or a clear refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytask.exceptions import InvalidTask
from pytask.keys import DEFAULT_QUEUE, check_queue_name
from pytask.records import NewTask, check_task_id, encode_data, new_task_id
from pytask.settings import Settings

#: A pair of name and data, or a mapping with "task" and any of the options of ``submit``.
TaskRequest = Mapping[str, Any] | tuple[str, Mapping[str, Any]]

_ALLOWED = frozenset({"task", "data", "task_id", "cleanup", "queue", "delay", "expires"})
#: Latest start and expiry, in seconds from now; about three hundred years.
_FAR = 1e10


def read_request(request: TaskRequest, settings: Settings) -> NewTask:
    """Read one entry of :meth:`pytask.PyTaskHelpers.start_tasks`.

    Raises:
        InvalidTask: It has another form, an unknown option, or cannot be stored.
    """
    if isinstance(request, Mapping):
        unknown = set(request) - _ALLOWED
        if unknown or "task" not in request:
            raise InvalidTask(
                f"task request {dict(request)!r}: 'task' is needed, and allowed are "
                f"{', '.join(sorted(_ALLOWED))}"
            )
        options = dict(request)
        name, data = options.pop("task"), options.pop("data", None)
        return new_task(name, {} if data is None else data, settings, **options)
    try:
        name, data = request
    except (TypeError, ValueError):
        raise InvalidTask(
            f"task request {request!r}: a pair of name and data, or a mapping, is needed"
        ) from None
    return new_task(name, data, settings)


def new_task(
    name: str,
    data: Mapping[str, Any],
    settings: Settings,
    *,
    task_id: str | None = None,
    cleanup: bool = True,
    queue: str = DEFAULT_QUEUE,
    delay: float = 0.0,
    expires: float = 0.0,
) -> NewTask:
    """Check a request and encode its data.

    Raises:
        InvalidTask: The name, the ID, the data or a time cannot be stored.
        ConfigurationError: The queue has an unusable name.
    """
    if not isinstance(name, str) or not name:
        raise InvalidTask(f"task name {name!r}: the NAME of a task class is needed")
    if not isinstance(data, Mapping):
        raise InvalidTask(f"data of a {name!r} task is no mapping: {data!r}")
    task_id = new_task_id() if task_id is None else check_task_id(task_id)
    encoded = encode_data(name, data, settings.max_data_bytes)
    if queue != DEFAULT_QUEUE:
        check_queue_name(queue)
    for option, seconds in (("delay", delay), ("expires", expires)):
        if not isinstance(seconds, int | float) or not 0 <= seconds < _FAR:
            raise InvalidTask(f"{option}={seconds!r} of task {task_id}: seconds from now")
    return NewTask(task_id, name, encoded, queue, bool(cleanup), delay, expires)
