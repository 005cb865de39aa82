"""What is published about tasks, and how values are read that anybody may have written."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pytask.records import to_text
from pytask.serializers import decode_value
from pytask.states import READY, State

#: Said of a task that has ended or was stopped, and the state it is in then.
END_EVENTS = {state.value.lower(): state for state in READY}
#: Said of a task that was removed, or flushed with its queue.
REMOVED = "removed"
#: After one of these a task may say nothing more.
LAST_EVENTS = frozenset({*END_EVENTS, REMOVED})


class Event(NamedTuple):
    """Something a task said: by ``emit``, or by starting and ending."""

    task_id: str
    name: str
    data: Any


def read_message(task_id: str, message: bytes) -> tuple[Event, Any] | None:
    """Turn a message of a task's channel into an event and what was raised; None if it is none."""
    try:
        body = decode_value(message)
    except ValueError:
        return None
    if not isinstance(body, dict) or not isinstance(body.get("event"), str):
        return None
    return Event(task_id, body["event"], body.get("data")), body.get("error")


def read_queued(message: bytes) -> list[str]:
    """Return the tasks a message of the fleet's channel says to be in their queues."""
    # A script writes it; an ID that was made by hand may hold control characters and odd bytes.
    try:
        body = json.loads(to_text(message), strict=False)
    except ValueError:
        return []
    tasks = body.get("tasks") if isinstance(body, dict) else None
    return [one for one in tasks if isinstance(one, str)] if isinstance(tasks, list) else []


def read_state(stored: bytes | None) -> State:
    """Return the state a record is in; one without it, or with one nobody knows, waits."""
    try:
        return State(to_text(stored)) if stored else State.WAIT
    except ValueError:
        return State.WAIT


def read_value(stored: bytes | str | None) -> Any:
    """Return what a stored value stands for; what cannot be read comes back as text."""
    if stored is None:
        return None
    try:
        return decode_value(stored)
    except ValueError:
        return to_text(stored) if isinstance(stored, bytes) else stored
