"""From what a caller asks for to a task that can be stored, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pytask.exceptions import InvalidTask
from pytask.keys import DEFAULT_QUEUE, check_queue_name
from pytask.policy import FAR, NO_POLICY, OVERRIDABLE, Policy, encode_overrides
from pytask.queues import LOCAL
from pytask.records import NewTask, check_task_id, new_task_id
from pytask.serializers import encode_data
from pytask.settings import Settings

#: A pair of name and data, or a mapping with "task" and any of the options of ``submit``.
TaskRequest = Mapping[str, Any] | tuple[str, Mapping[str, Any]]
#: Returns the policy of a task by its name; a default one where the task is not known.
PolicyOf = Callable[[str], Policy]

_ALLOWED = frozenset(
    {"task", "data", "task_id", "cleanup", "queue", "delay", "at", "expires", *OVERRIDABLE}
)


def no_policy(task_name: str) -> Policy:
    """Know nothing about any task."""
    return NO_POLICY


def read_request(
    request: TaskRequest,
    settings: Settings,
    policy_of: PolicyOf,
    fresh_id: Callable[[], str] = new_task_id,
) -> NewTask:
    """Read one entry of :meth:`pytask.PyTaskHelpers.start_tasks`.

    Args:
        request: The entry.
        settings: Bounds.
        policy_of: Knows the policy of a task by its name.
        fresh_id: Makes up an ID for one that has none.

    Raises:
        InvalidTask: It has another form, an unknown option, or cannot be stored.
    """
    # Asking whether something is a Mapping takes longer than the rest of the checks.
    if not isinstance(request, tuple) and isinstance(request, Mapping):
        unknown = set(request) - _ALLOWED
        if unknown or "task" not in request:
            raise InvalidTask(
                f"task request {dict(request)!r}: 'task' is needed, and allowed are "
                f"{', '.join(sorted(_ALLOWED))}"
            )
        options = dict(request)
        name, data = options.pop("task"), options.pop("data", None)
        data = {} if data is None else data
        return new_task(name, data, settings, policy_of(name), fresh_id=fresh_id, **options)
    try:
        name, data = request
    except (TypeError, ValueError):
        raise InvalidTask(
            f"task request {request!r}: a pair of name and data, or a mapping, is needed"
        ) from None
    return new_task(name, data, settings, policy_of(name), fresh_id=fresh_id)


def new_task(
    name: str,
    data: Mapping[str, Any],
    settings: Settings,
    policy: Policy = NO_POLICY,
    *,
    task_id: str | None = None,
    cleanup: bool = True,
    queue: str | None = None,
    delay: float = 0.0,
    at: datetime | float | None = None,
    expires: float | None = None,
    fresh_id: Callable[[], str] = new_task_id,
    **overrides: Any,
) -> NewTask:
    """Check a request and encode its data.

    Args:
        name: ``NAME`` of the task class.
        data: What its ``__init__`` is given.
        settings: Bounds, and the serializer.
        policy: Of the class, where it is known: decides what is not said here.
        task_id: Its ID; None: a random one.
        cleanup: False keeps the record after the end.
        queue: Where it waits; None: as the policy says; LOCAL: in the queue of this machine.
        delay: Seconds until it may start.
        at: The time from which it may start, in place of a delay.
        expires: Seconds after which it is not started any more; None: as the policy says.
        fresh_id: Makes up an ID.
        **overrides: What is decided for this task alone, see pytask.policy; None: nothing.

    Raises:
        InvalidTask: The name, the ID, the data or a time cannot be stored.
        ConfigurationError: The queue has an unusable name.
    """
    if not isinstance(name, str) or not name:
        raise InvalidTask(f"task name {name!r}: the NAME of a task class is needed")
    if not isinstance(data, dict) and not isinstance(data, Mapping):
        raise InvalidTask(f"data of a {name!r} task is no mapping: {data!r}")
    task_id = fresh_id() if task_id is None else check_task_id(task_id)
    encoded = encode_data(name, data, settings)
    if queue is None:
        queue = policy.queue
    elif queue != DEFAULT_QUEUE and queue != LOCAL:
        check_queue_name(queue)
    if queue == LOCAL:
        queue = settings.node_queue
    if expires is None:
        expires = policy.expires
    if delay != 0 or expires != 0:
        _check_seconds(task_id, delay=delay, expires=expires)
    decided = encode_overrides(overrides) if overrides else b""
    instant = 0.0 if at is None else _instant(task_id, at, delay)
    return NewTask(task_id, name, encoded, queue, bool(cleanup), delay, expires, decided, instant)


def _check_seconds(task_id: str, **options: Any) -> None:
    for option, seconds in options.items():
        if not isinstance(seconds, int | float) or not 0 <= seconds < FAR:
            raise InvalidTask(f"{option}={seconds!r} of task {task_id}: seconds from now")


def _instant(task_id: str, at: datetime | float, delay: float) -> float:
    """Return a time in Unix seconds.

    Raises:
        InvalidTask: It is none, or there is a delay as well.
    """
    if delay:
        raise InvalidTask(f"delay={delay!r} and at={at!r} of task {task_id}: give one of them")
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise InvalidTask(
                f"at={at!r} of task {task_id} has no time zone; whose clock is meant? For example "
                "datetime.now(UTC) + timedelta(hours=1)"
            )
        at = at.timestamp()
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 < at < FAR:
        raise InvalidTask(f"at={at!r} of task {task_id}: a datetime, or Unix seconds, is needed")
    return float(at)
