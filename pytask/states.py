"""The states of a task, and the result codes of the scripts that move it between them."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class State(StrEnum):
    """The ``state`` field of a record; a record without the field counts as ``WAIT``."""

    #: In a new queue or in the delayed set, not yet started.
    WAIT = "WAIT"
    #: Owned by a worker, which refreshes its lease.
    RUNNING = "RUNNING"
    #: Stopped by a person; may be restarted.
    STOPPED = "STOPPED"
    #: Ended; ``output`` is what ``start`` returned.
    SUCCESS = "SUCCESS"
    #: Ended; the task raised its own ``Error``.
    ERROR = "ERROR"
    #: Ended; something unexpected was raised, or the task could not be run at all.
    EXCEPTION = "EXCEPTION"
    #: An attempt failed; the next one waits in the delayed set.
    RETRY = "RETRY"
    #: Ended; it expired, ran out of time or was refused by a limit.
    REVOKED = "REVOKED"


#: Nothing more happens to these by itself.
READY = frozenset({State.STOPPED, State.SUCCESS, State.ERROR, State.EXCEPTION, State.REVOKED})
#: Ended for good: READY without STOPPED, which can be resumed.
ENDED = READY - {State.STOPPED}
#: Ended without success; Cleanup keeps these for a person to look at.
FAILED = ENDED - {State.SUCCESS}


class Code(IntEnum):
    """What a script answers for one task.

    Positive: the task is now as the caller wants it. Zero and below: nothing was written, and
    "there is no such task" is told apart from "it is not yours".
    """

    #: Done by this call.
    OK = 1
    #: Done before, by the same request: the repeat of a call whose reply was lost.
    ALREADY = 2
    #: The task was removed because it was bound to the worker that gave it up.
    REMOVED = 3
    #: Moved to EXCEPTION as a dead letter: it cost too many workers their life.
    DEAD = 4
    #: The request was written down and published; the owner carries it out.
    SENT = 5
    #: No record of that ID.
    MISSING = 0
    #: The state does not allow it.
    WRONG_STATE = -1
    #: The token is not the one of the current run.
    NOT_OWNER = -2
    #: The record's key holds a value that is not a hash.
    BAD_TYPE = -3
    #: The task is waiting or running already and was left alone.
    EXISTS = -4
    #: The lease is still believed.
    FRESH = -5
