"""What a JSON-RPC 2.0 request means, and what its answer looks like. Knows no HTTP and no task.

The answer to whatever bytes come is one JSON text, or nothing where every call was a notification.
A member that stands twice in an object counts as it stands last.
"""

from __future__ import annotations

import inspect
import math
import time
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from pytask.records import from_json, to_json
from pytask.rpc.errors import ErrorCode, RpcError, internal_error, translate

#: Name -> what is called with the parameters.
Methods = Mapping[str, Callable[..., Any]]

#: Parameters that name a task; the data of an error repeat them.
_NAMING = ("id", "task_id", "name")
#: Longest text of a client that an answer repeats, and longest message.
_REPEATED = 200
_LONGEST = 1_000


class RpcRequest(NamedTuple):
    """Where a call came from.

    Attributes:
        environ: The WSGI environment: address, headers, and what a framework has put there.
        deadline: Monotonic instant at which the answer is due, waits included.
    """

    environ: Mapping[str, Any]
    deadline: float

    @property
    def remote_address(self) -> str:
        """The address of the client, or of the proxy before this server."""
        return str(self.environ.get("REMOTE_ADDR", ""))

    @property
    def seconds_left(self) -> float:
        """How long a method may still wait."""
        return max(0.0, self.deadline - time.monotonic())


def answer(body: bytes, methods: Methods, max_batch: int) -> bytes | None:
    """Carry out what a body asks for.

    Args:
        body: What came.
        methods: What may be called.
        max_batch: Most calls in one batch.

    Returns:
        JSON; None if there is nothing to be said.
    """
    try:
        asked = from_json(body)
    except ValueError:
        return to_json(failure(None, ErrorCode.PARSE_ERROR, "the body is not JSON"))
    if not isinstance(asked, list):
        reply = _answer_one(asked, methods)
        return None if reply is None else _encoded(reply)
    if not asked:
        return to_json(failure(None, ErrorCode.INVALID_REQUEST, "the batch is empty"))
    if len(asked) > max_batch:
        text = f"the batch has {len(asked)} calls; {max_batch} are allowed"
        return to_json(failure(None, ErrorCode.INVALID_REQUEST, text))
    replies = [reply for one in asked if (reply := _answer_one(one, methods)) is not None]
    return b"[" + b",".join(map(_encoded, replies)) + b"]" if replies else None


def failure(call_id: Any, code: int, message: str, data: Any = None) -> dict[str, Any]:
    """Return the answer to a call that failed."""
    error: dict[str, Any] = {"code": int(code), "message": message[:_LONGEST]}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


def _encoded(reply: dict[str, Any]) -> bytes:
    try:
        return to_json(reply)
    except (TypeError, ValueError) as error:
        # A method has returned what has no JSON form; the ID was checked.
        told = internal_error(error, "an answer", {})
        return to_json(failure(reply["id"], told.code, told.message, told.data))


def _answer_one(asked: Any, methods: Methods) -> dict[str, Any] | None:
    call_id = asked.get("id") if isinstance(asked, dict) else None
    wrong = _what_is_wrong(asked)
    if wrong is not None:
        known = call_id if _is_id(call_id) else None
        return failure(known, ErrorCode.INVALID_REQUEST, wrong)
    try:
        result = _call(asked["method"], asked.get("params", []), methods)
    except RpcError as error:
        reply = failure(call_id, error.code, error.message, error.data)
    else:
        reply = {"jsonrpc": "2.0", "id": call_id, "result": result}
    return reply if "id" in asked else None


def _what_is_wrong(asked: Any) -> str | None:
    if not isinstance(asked, dict):
        return "a call is an object"
    if asked.get("jsonrpc") != "2.0":
        return 'a call has "jsonrpc": "2.0"'
    if not isinstance(asked.get("method"), str):
        return '"method" is a string'
    if not isinstance(asked.get("params", []), list | dict):
        return '"params" is an array or an object'
    if not _is_id(asked.get("id")):
        return '"id" is a string, a number or null'
    return None


def _is_id(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))


def _call(name: str, params: Any, methods: Methods) -> Any:
    function = methods.get(name)
    if function is None:
        raise RpcError(ErrorCode.METHOD_NOT_FOUND, f"there is no method {name[:_REPEATED]!r}")
    about: dict[str, Any] = {}
    try:
        args, kwargs = _bind(function, params, about)
        return function(*args, **kwargs)
    except (Exception, SystemExit) as error:
        # A plug-in that exits would end the server, and with it the calls of others.
        raise translate(error, name, about) from error


def _bind(
    function: Callable[..., Any], params: Any, about: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Fit parameters to a function, each as its annotation says.

    Raises:
        RpcError: They do not fit.
    """
    signature = inspect.signature(function)
    given = (params, {}) if isinstance(params, list) else ([], params)
    try:
        bound = signature.bind(*given[0], **given[1])
    except TypeError as error:
        raise RpcError(ErrorCode.INVALID_PARAMS, str(error)[:_REPEATED]) from None
    named = bound.kwargs | bound.arguments
    for name in _NAMING:
        if isinstance(named.get(name), str):
            about["task" if name == "name" else "task_id"] = named[name][:_REPEATED]
    hints = _hints(function)
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if name in hints and kind not in (inspect.Parameter.VAR_KEYWORD, kind.VAR_POSITIONAL):
            bound.arguments[name] = convert(name, value, hints[name])
    return bound.args, bound.kwargs


def convert(name: str, value: Any, kind: Any) -> Any:
    """Return a parameter as its type wants it.

    Raises:
        RpcError: It cannot be.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = f"parameter {name!r}: {error}"
        raise RpcError(ErrorCode.INVALID_PARAMS, text, {"parameter": name}) from None
    except TypeError:
        return value  # annotated with what no JSON can be checked against


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    function = getattr(function, "func", function)
    try:
        return typing.get_type_hints(function)
    except Exception:
        return {}  # a plug-in may import the names of its annotations for type checkers only
