"""The shapes that travel between the store and everybody else, and JSON.

A record is the Redis hash of a task. Its fields, all text::

    task data state last_update output    the documented five
    cleanup local                         'false' / 'true' when they differ from the default
    queue                                 the named queue it waits in; absent: the default one
    run worker                            token and worker of the current run
    attempts reaps                        how often it was claimed, how often it outlived a worker
    retries                               how often it was tried again because it failed
    policy                                JSON object: what was decided for this task alone
    schedule                              the schedule that started it
    created started ended                 unix seconds, server clock
    control                               'stop' or 'reload:<id>', not yet carried out
    expires                               unix seconds; not started by then: REVOKED
    held                                  when a task that a limit holds back is due, uncalled
    eid done_run                          who enqueued and who finished it, to answer repeats
    unqueue end_entry                     list entries that outlived their reason (stop, restart)
    end_claim                             the worker whose Cleanup deals with its end
    error                                 JSON object: class, message and traceback of a failure
    from_task                             the task that started it
    kept                                  '1': only its retention keeps the record
    history                               one line per lost worker, for the dead letter

A record written by hand with only ``task`` and ``data`` is complete.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, NamedTuple
from unicodedata import category

import msgspec

from pytask.exceptions import InvalidTask
from pytask.keys import DEFAULT_QUEUE
from pytask.states import Code, State

#: Longest task ID, in bytes of UTF-8.
MAX_ID_BYTES = 512

_TEXT = frozenset({str})
_PLAIN = frozenset({str, int, bool, NoneType})
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class NewTask(NamedTuple):
    """A task to enqueue; ``data`` is encoded already."""

    task_id: str
    task: str
    data: bytes
    queue: str = DEFAULT_QUEUE
    cleanup: bool = True
    #: Seconds from now until it may start.
    delay: float = 0.0
    #: Seconds from now after which it is not started any more; 0: never.
    expires: float = 0.0
    #: What was decided for this task alone, a JSON object; empty: nothing.
    policy: bytes = b""
    #: Unix seconds from which it may start, in place of a delay; 0: no such time.
    at: float = 0.0
    #: The task that starts it, and all others of the same call; empty: none.
    from_task: str = ""


class Claimed(NamedTuple):
    """A run this worker owns: what it needs to start the task."""

    task_id: str
    token: str
    task: str
    data: bytes
    attempts: int
    #: Retries so far, a space, and what was decided for this task alone; empty: neither.
    policy: bytes = b""
    #: Bound to this worker: removed, not requeued, when the worker goes.
    local: bool = False


class Rejected(NamedTuple):
    """An ID the claim took off the queue without starting it, and why.

    ``reason`` is ``missing`` (no record came within the grace), ``type`` (the key holds another
    type), ``expired``, ``stopped`` or ``duplicate`` (the task is running or has ended).
    """

    task_id: str
    reason: str


class ClaimReply(NamedTuple):
    claimed: list[Claimed]
    rejected: list[Rejected]
    #: The scan hit its bound before the limit was reached: there may be more at once.
    more: bool
    #: IDs that wait for their record: look again soon, nothing will announce it.
    set_aside: int
    #: Queues among those asked for whose tasks are held back.
    paused: Sequence[str] = ()


class Outcome(NamedTuple):
    """How a run ended; ``output`` is encoded already."""

    task_id: str
    token: str
    state: State
    output: bytes
    #: Seconds until the next attempt; only with ``State.RETRY``.
    delay: float = 0.0
    #: What was raised, a JSON object; only with ``State.ERROR`` and ``State.EXCEPTION``.
    error: bytes = b""


class Beat(NamedTuple):
    """A run a heartbeat has something to say about."""

    task_id: str
    token: str
    #: ``OK`` with ``control`` set, or why the lease is lost.
    code: Code
    control: str


class Promoted(NamedTuple):
    moved: int
    #: Seconds until the next delayed task is due, None when none waits.
    next_due_in: float | None


class Reaped(NamedTuple):
    task_id: str
    code: Code


class Ended(NamedTuple):
    """A task a Cleanup took; ``done_run`` tells this end from a later one."""

    task_id: str
    done_run: str
    record: dict[str, str]


class WorkerInfo(NamedTuple):
    """An entry of the worker registry."""

    worker: str
    #: Seconds since its last beat, on the server's clock.
    silent_for: float
    alive: bool
    #: host, pid, queues, running, concurrency, started, version, as the worker wrote them.
    details: dict[str, str]

    @property
    def queues(self) -> list[str]:
        """The queues it serves."""
        return [name for name in self.details.get("queues", "").split(",") if name]


def new_task_id() -> str:
    """Return 128 random bits as hex: as unique as a UUID, at a fifth of its price."""
    return os.urandom(16).hex()


def new_task_ids() -> Iterator[str]:
    """Yield IDs for tasks that are started together; the system is asked for many at a time.

    Belongs to one call: kept for longer it would yield the same ones in a process that is forked.
    """
    while True:
        digits = os.urandom(16 * 256).hex()
        for start in range(0, len(digits), 32):
            yield digits[start : start + 32]


def new_request_id() -> str:
    """Return 64 random bits as hex: the name of one logical call to a script."""
    return os.urandom(8).hex()


def ascending_request_ids() -> Iterator[str]:
    """Yield request IDs of which each is greater, as a text, than the one before."""
    for number in itertools.count(1):
        yield f"{number:010x}{os.urandom(3).hex()}"


def check_task_id(task_id: str) -> str:
    """Return ``task_id`` if it can name a task.

    Raises:
        InvalidTask: It is no text, empty, longer than 512 bytes, or holds a control character or
            half of a surrogate pair.
    """
    if not isinstance(task_id, str) or not task_id:
        raise InvalidTask(f"task ID {task_id!r}: a text of at least one character is needed")
    try:
        size = len(task_id) if task_id.isascii() else len(id_to_bytes(task_id))
    except UnicodeEncodeError:
        raise InvalidTask(f"task ID {task_id!r} has no UTF-8 form") from None
    if size > MAX_ID_BYTES:
        raise InvalidTask(f"task ID {task_id[:40]!r}… is longer than {MAX_ID_BYTES} bytes")
    if not task_id.isprintable() and any(category(character) == "Cc" for character in task_id):
        raise InvalidTask(f"task ID {task_id!r} holds a control character")
    return task_id


def shown(text: str, keep: str = "") -> str:
    """Return text for a terminal or a log, where an ID from outside must not act as a command.

    Args:
        text: What to show.
        keep: Characters that stay although they are not printable, such as line ends.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode()
        for character in text
    )


def id_to_bytes(task_id: str) -> bytes:
    return task_id.encode("utf-8", "surrogateescape")


def to_text(value: bytes) -> str:
    """Decode a reply; bytes that are no UTF-8 survive the way back to Redis unchanged."""
    return value.decode("utf-8", "surrogateescape")


def to_json(value: Any) -> bytes:
    """Encode ``value`` as JSON.

    Strict on purpose: a set or a date has no JSON form, and one chosen silently here would come
    back as something else.

    Raises:
        TypeError: It holds something JSON has no form for.
        ValueError: It holds NaN, an infinity or itself, or is nested too deeply.
    """
    if value is None:
        return b"null"
    if type(value) is dict and _is_plain(value):
        with suppress(UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
            return msgspec.json.encode(value)
    try:
        return _encoder.encode(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _is_plain(value: dict[Any, Any]) -> bool:
    # Most data are. msgspec encodes them ten times faster, but would let a set pass, or NaN.
    return _TEXT.issuperset(map(type, value)) and _PLAIN.issuperset(map(type, value.values()))


def from_json(value: bytes) -> Any:
    """Decode JSON.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # Half of a surrogate pair is no Unicode, yet file names have it, and to_json writes it.
        if rb"\ud" in value:
            with suppress(ValueError, RecursionError):
                return json.loads(value, parse_constant=_refuse)
        raise ValueError(str(error)) from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
