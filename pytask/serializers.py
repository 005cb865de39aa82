"""How ``data`` and ``output`` are written: JSON, which anybody reads, or MessagePack, with bytes.

An app chooses what it writes; everybody reads both, because each value tells what it is. One in
MessagePack begins with the byte 0xC1, which MessagePack itself never uses and no text in UTF-8
holds, so it begins no JSON. What pytask writes of its own accord, an empty object, ``null`` and the
explanation of a failure, is JSON in any case.

Both are strict: what comes back equals what was given, except that a tuple comes back as a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec

from pytask.exceptions import InvalidTask
from pytask.records import from_json, to_json

if TYPE_CHECKING:
    from pytask.settings import Settings

#: The first byte of a value in MessagePack.
MARK = b"\xc1"

JSON = "json"
MSGPACK = "msgpack"

#: What a serializer is called in messages.
FORMATS = {JSON: "JSON", MSGPACK: "MessagePack"}

_SAME = frozenset({str, int, float, bool, bytes, NoneType})
_TEXT = frozenset({str})
_JSON_SCALARS = (str, int, float, NoneType)
_SCALARS = (*_JSON_SCALARS, bytes, bytearray)
_JSON_KEYS = _JSON_SCALARS
_KEYS = (str, int, bytes)

_MARK_AS_TEXT = MARK.decode("utf-8", "surrogateescape")
_NAME = re.compile(r"[^\W\d]\w*")


def encode_value(value: Any, serializer: str) -> bytes:
    """Return the stored form of a value.

    Raises:
        TypeError: It holds something the format has no form for; the message names the place.
        ValueError: It holds itself, or NaN in JSON, or is nested too deeply.
    """
    if serializer != JSON and value is not None:
        return _to_msgpack(value)
    try:
        return to_json(value)
    except TypeError:
        place = None
        with suppress(RecursionError):
            place = _find_misfit(value, _JSON_SCALARS, _JSON_KEYS)
        if place is None:
            raise
        raise TypeError(place) from None


def decode_value(stored: bytes | str) -> Any:
    """Return what a field ``data`` or ``output`` of a record holds, whoever wrote it.

    Args:
        stored: The field, as :meth:`pytask.PyTaskHelpers.get_task` returns it or as Redis does.

    Raises:
        ValueError: It is neither JSON nor MessagePack.
    """
    if isinstance(stored, str):
        stored = stored.encode("utf-8", "surrogateescape")
    if stored[:1] != MARK:
        try:
            return from_json(stored)
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from None
    try:
        return _decoder.decode(memoryview(stored)[1:])
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not MessagePack: {error}") from None


def is_msgpack(stored: bytes | str) -> bool:
    """Tell whether a value is stored in MessagePack."""
    return stored[:1] in (MARK, _MARK_AS_TEXT)


def encode_data(task: str, data: Mapping[str, Any], settings: Settings) -> bytes:
    """Encode the data of a task request as the settings say.

    Raises:
        InvalidTask: The format has no form for it, or it is larger than ``max_data_bytes``.
    """
    if not data:
        return b"{}"
    name = FORMATS[settings.serializer]
    if settings.serializer != JSON and not all(isinstance(key, str) for key in data):
        raise InvalidTask(f"data of a {task!r} task: the names of arguments are text")
    try:
        encoded = encode_value(data, settings.serializer)
    except (TypeError, ValueError) as error:
        raise InvalidTask(f"data of a {task!r} task is not {name}: {error}") from None
    if len(encoded) > settings.max_data_bytes:
        raise InvalidTask(
            f"data of a {task!r} task is {len(encoded):,} bytes of {name}, more than "
            f"max_data_bytes={settings.max_data_bytes:,}; store it elsewhere and pass its name"
        )
    return encoded


def encode_event(event: str, data: bytes) -> bytes:
    """Return the message about an event, in the format its data have.

    Args:
        event: Name of the event.
        data: What it carries, encoded already.
    """
    if data[:1] == MARK:
        # A map of two entries; the names of both are short texts.
        return b"%c\x82\xa5event%b\xa4data%b" % (MARK, _encoder.encode(event), data[1:])
    return b'{"event":' + to_json(event) + b',"data":' + data + b"}"


def readable(value: Any) -> Any:
    """Return a decoded value for those who read JSON only: a terminal, a program, HTTP.

    Bytes become base64, instants ISO 8601, keys text, NaN and infinities null.
    """
    try:
        return from_json(to_json(value))
    except (TypeError, ValueError):
        pass
    try:
        return from_json(msgspec.json.encode(_with_text_keys(value)))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        # Nested more deeply than one of both encoders can follow.
        return repr(value)


def _to_msgpack(value: Any) -> bytes:
    if not (type(value) is dict and _TEXT.issuperset(map(type, value)) and _is_same(value)):
        try:
            misfit = _find_misfit(value, _SCALARS, _KEYS)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if misfit is not None:
            raise TypeError(misfit)
    try:
        return MARK + _encoder.encode(value)
    except (OverflowError, UnicodeEncodeError):
        # Numbers of more than 64 bits and halves of surrogate pairs have a form in JSON only.
        try:
            return to_json(value)
        except (TypeError, ValueError):
            raise ValueError(
                "it holds a number of more than 64 bits or half of a surrogate pair, which only "
                "JSON has a form for, and something JSON has none for"
            ) from None


def _is_same(value: dict[Any, Any]) -> bool:
    return _SAME.issuperset(map(type, value.values()))


def _find_misfit(
    value: Any, scalars: tuple[type, ...], keys: tuple[type, ...], path: str = ""
) -> str | None:
    """Return a sentence about the first thing without a form, None if there is none."""
    if isinstance(value, scalars):
        return None
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, keys):
                return f"{_place(path)} has a key of type {type(key).__name__}"
            found = _find_misfit(one, scalars, keys, _below(path, key))
            if found is not None:
                return found
        return None
    if isinstance(value, list | tuple):
        if _SAME.issuperset(map(type, value)) and bytes in scalars:
            return None
        for index, one in enumerate(value):
            found = _find_misfit(one, scalars, keys, f"{path}[{index}]")
            if found is not None:
                return found
        return None
    if isinstance(value, datetime) and bytes in scalars:
        # As text it would come back as text, as an instant in another zone than it was meant.
        return None if value.tzinfo else f"{_place(path)} holds a datetime without a time zone"
    hint = ""
    if isinstance(value, bytes | bytearray):
        hint = '; serializer="msgpack" stores them'
    return f"{_place(path)} holds {_kind(value)}{hint}"


def _kind(value: Any) -> str:
    name = type(value).__name__
    return "bytes" if isinstance(value, bytes) else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _below(path: str, key: Any) -> str:
    if isinstance(key, str) and _NAME.fullmatch(key) and len(key) < 80:
        return f"{path}.{key}" if path else key
    return f"{path}[{key!r:.80}]"


def _place(path: str) -> str:
    return f"field {path!r}" if path else "it"


def _plain(value: Any) -> Any:
    """Return an instance of a built-in type for one of a class derived from it."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__pos__(value)
    if isinstance(value, float):
        return float.__pos__(value)
    return bytes(memoryview(value))


def _refuse_extension(code: int, data: memoryview) -> Any:
    raise ValueError(f"extension type {code} is unknown")


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key_text(key): _with_text_keys(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(one) for one in value]
    return value


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return key
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(ext_hook=_refuse_extension)
