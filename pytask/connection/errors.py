"""Where every error of redis-py becomes one of pytask's, and nowhere else.

redis-py names the same server reply differently from version to version: ``-TRYAGAIN`` is a
``TryAgainError`` for one and a bare ``ResponseError`` for another. So the reply's code word is
recovered first, and the code alone decides. What matters to a caller is one question: can the
same request succeed later (:class:`RedisUnavailable`), must somebody make room first
(:class:`RedisRefused`), or is the request or the set-up wrong (everything else)?
"""

from __future__ import annotations

from dataclasses import dataclass

from redis import exceptions as redis_errors

from pytask.exceptions import (
    RedisError,
    RedisRefused,
    RedisRejected,
    RedisUnavailable,
    WrongKeyType,
)

#: What redis-py raises for a request that went wrong; the socket's own errors are ``OSError``.
CLIENT_ERRORS: tuple[type[Exception], ...] = (redis_errors.RedisError, OSError)

#: A complete error reply: its connection is clean and can be used again.
ERROR_REPLY: type[Exception] = redis_errors.ResponseError

# redis-py cuts the code word off the message of the classes it knows.
_CODE_OF_CLASS = {
    "AskError": "ASK",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    "AuthorizationError": "NOAUTH",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}

# States of a server or a cluster that pass by themselves.
_LATER = frozenset(
    (
        "ASK",
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "MOVED",
        "NOREPLICAS",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",
    )
)

# Plain "-ERR" replies and errors inside scripts that pass as well: a slot on the move, a crowd,
# an operator who ended a script before its first write.
_LATER_TEXTS = (
    "non local key",
    "undeclared keys were accessed during rehashing",
    "undeclared keys during rehashing",
    "max number of clients reached",
    "Script killed by user",
)


class ScriptMissing(RedisRejected):
    """The server does not know the script of that digest; it must be sent in full."""


@dataclass(frozen=True)
class Redirect:
    """Where a cluster node sends a command that it did not execute.

    Attributes:
        slot: The hash slot the reply is about.
        address: Host (empty: the host that replied) and port of the node to ask.
        asking: The slot is on its way: send ``ASKING`` first, and do not remember the address.
    """

    slot: int
    address: tuple[str, int]
    asking: bool


def code_of(error: Exception) -> str:
    """Return the code word of an error reply, such as ``WRONGTYPE``; empty if it has none."""
    known = _CODE_OF_CLASS.get(type(error).__name__)
    if known is not None:
        return known
    if not isinstance(error, ERROR_REPLY):
        return ""
    word = str(error).partition(" ")[0]
    return word if word.isupper() else ""


def redirect_of(error: Exception) -> Redirect | None:
    """Return where ``error`` sends the command, or None when it is no redirection."""
    code = code_of(error)
    if code not in ("MOVED", "ASK"):
        return None
    slot, _, address = str(error).removeprefix(code).strip().partition(" ")
    host, _, port = address.rpartition(":")
    return Redirect(int(slot), (host.strip("[]"), int(port)), code == "ASK")


def is_disconnect(error: Exception) -> bool:
    """Return whether ``error`` says that the server at that address is gone or no longer master.

    A master that lost its replicas counts: after a failover by sentinels it may stay one for ten
    seconds beside the new one. Credentials that were refused do not: another connection would not
    help.
    """
    code = code_of(error)
    if code:
        return code in ("READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS")
    return isinstance(error, (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError))


def translate(error: Exception, command: object = "") -> RedisError:
    """Return the exception that pytask raises for ``error``; the caller chains the original.

    Args:
        error: What redis-py or the socket raised.
        command: Name of the command, for the message.
    """
    code = code_of(error)
    text = str(error) or type(error).__name__
    if code and not text.startswith(code):
        text = f"{code} {text}"
    message = f"{text} (command {_name(command)})" if command else text
    if code == "NOSCRIPT":
        return ScriptMissing(message)
    if code == "OOM" or text.startswith("ERR OOM") or "OOM command not allowed" in text:
        return RedisRefused(message)
    if code == "WRONGTYPE" or "WRONGTYPE Operation against a key" in text:
        return WrongKeyType(message)
    if _passes(error, code, text):
        return RedisUnavailable(message)
    return RedisRejected(message)


def error_of_text(text: str, command: object = "") -> RedisError:
    """Return what :func:`translate` does for an error reply that redis-py has not read."""
    return translate(redis_errors.ResponseError(text), command)


def _passes(error: Exception, code: str, text: str) -> bool:
    if code in _LATER or any(part in text for part in _LATER_TEXTS):
        return True
    if isinstance(error, ERROR_REPLY):
        # A script that failed inside reports the reply of its command within the text.
        return any(f"-{later} " in text for later in _LATER)
    if code == "NOAUTH":
        return False
    return isinstance(
        error,
        (
            redis_errors.ConnectionError,
            redis_errors.TimeoutError,
            redis_errors.InvalidResponse,
            OSError,
        ),
    )


def _name(command: object) -> str:
    if isinstance(command, bytes):
        return command.decode("ascii", "replace")
    return str(command)
