"""The errors of JSON-RPC, and which of pytask's exceptions become which.

What a client is told is written here, or is a message that pytask made of the client's own words.
The text of any other exception stays in the log: it may name hosts, or hold what a program put
there.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from pytask.exceptions import (
    ConfigurationError,
    InvalidTask,
    PartitionMismatch,
    RedisRefused,
    RedisUnavailable,
    TaskNotFound,
    TaskStateError,
    UnknownTask,
    WaitTimeout,
    WrongKeyType,
)

logger = logging.getLogger(__name__)


class ErrorCode(IntEnum):
    """What went wrong. Those down to -32768 are the standard's, the others pytask's."""

    #: The body is not JSON.
    PARSE_ERROR = -32700
    #: It is JSON, but no request; or the batch is empty or too long.
    INVALID_REQUEST = -32600
    #: There is no such method.
    METHOD_NOT_FOUND = -32601
    #: The parameters do not fit the method, or the task.
    INVALID_PARAMS = -32602
    #: The server failed; the error's data name the line in its log.
    INTERNAL_ERROR = -32603

    #: There is no record of that task.
    TASK_NOT_FOUND = -32001
    #: The state of the task does not allow it.
    WRONG_STATE = -32002
    #: The task had not ended when the time to wait was over.
    WAIT_TIMEOUT = -32003
    #: The app has no task of that name.
    UNKNOWN_TASK = -32004
    #: The server shuts down; ask again.
    SHUTTING_DOWN = -32005
    #: Redis did not answer in time; it may or may not have been done. Ask again later.
    REDIS_UNAVAILABLE = -32010
    #: Redis is full; nothing was stored.
    REDIS_REFUSED = -32011
    #: The task's key holds another type than a hash.
    WRONG_KEY_TYPE = -32012


class RpcError(Exception):
    """A call failed; this is what the client is told.

    A method of a plug-in raises it to say why.

    Args:
        code: One of those pytask documents, or a number of the plug-in's own.
        message: One sentence.
        data: More, in a form that has JSON.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = int(code)
        self.message = message
        self.data = data


#: The exceptions whose message is about what the client asked for.
_TOLD: tuple[tuple[type[Exception], ErrorCode], ...] = (
    (InvalidTask, ErrorCode.INVALID_PARAMS),
    (UnknownTask, ErrorCode.UNKNOWN_TASK),
    (TaskNotFound, ErrorCode.TASK_NOT_FOUND),
    (TaskStateError, ErrorCode.WRONG_STATE),
    (WaitTimeout, ErrorCode.WAIT_TIMEOUT),
)

#: Those whose message is about the server, with what is said in its place.
_REPLACED: tuple[tuple[type[Exception], ErrorCode, str], ...] = (
    (WrongKeyType, ErrorCode.WRONG_KEY_TYPE, "the task's key holds another type than a hash"),
    (RedisRefused, ErrorCode.REDIS_REFUSED, "Redis refuses to store more"),
    (
        RedisUnavailable,
        ErrorCode.REDIS_UNAVAILABLE,
        "Redis did not answer; it may or may not have been done, and can be asked for again",
    ),
)


def translate(error: Exception | SystemExit, method: str, about: Mapping[str, Any]) -> RpcError:
    """Return what a client is told about an exception.

    Args:
        error: What a method raised.
        method: Its name, for the log.
        about: What the error's data name: the task.
    """
    if isinstance(error, RpcError):
        named = error.data if error.data is not None else (dict(about) or None)
        return RpcError(error.code, error.message, named)
    data = {"type": type(error).__name__, **about}
    for kind, code in _TOLD:
        if isinstance(error, kind):
            return RpcError(code, str(error), data)
    # A queue's name, for example; a fleet that does not fit together is not the client's doing.
    if isinstance(error, ConfigurationError) and not isinstance(error, PartitionMismatch):
        return RpcError(ErrorCode.INVALID_PARAMS, str(error), data)
    for kind, code, message in _REPLACED:
        if isinstance(error, kind):
            logger.warning("%s of a client failed: %s: %s", method, type(error).__name__, error)
            return RpcError(code, message, data)
    return internal_error(error, method, about)


def internal_error(
    error: Exception | SystemExit, method: str, about: Mapping[str, Any]
) -> RpcError:
    """Log an exception that is nobody's business, and return where it can be found."""
    error_id = secrets.token_hex(8)
    logger.error("%s of a client failed, error %s", method, error_id, exc_info=error)
    return RpcError(
        ErrorCode.INTERNAL_ERROR,
        "the server failed; its log tells why",
        {"error_id": error_id, **about},
    )
