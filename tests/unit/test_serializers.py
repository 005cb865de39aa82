"""serializers: what comes back is what was given, and who reads needs not know who wrote."""

import enum
import json
import math
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest

from pytask.exceptions import ConfigurationError, InvalidTask
from pytask.serializers import (
    decode_value,
    encode_data,
    encode_event,
    encode_value,
    is_msgpack,
    readable,
)
from pytask.settings import Settings

NOW = datetime(2026, 11, 21, 6, 0, 0, 123456, timezone(timedelta(hours=2)))


class Text(str):
    pass


class Number(int):
    pass


class Raw(bytes):
    pass


class Colour(enum.StrEnum):
    RED = "red"


def settings(**options: Any) -> Settings:
    return Settings.of(options)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ada", "n": [1, -2.5, None, True], "äöü": "日本"},
        {"picture": b"\x00\xc1\xff", "more": [{"deep": b""}]},
        {1: 2, b"raw": 3, "text": 4},
        {"at": NOW},
        2**64 - 1,
        2**70,
        "half a pair \ud800",
        math.inf,
        Text("derived"),
        {Text("key"): [Number(7), Raw(b"x"), Colour.RED]},
        OrderedDict(a=b"1"),
        "",
        [],
        False,
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_messagepack_holds_comes_back_as_it_was(value: Any) -> None:
    stored = encode_value(value, "msgpack")

    assert decode_value(stored) == value
    # As text, which is how records are handed out, nothing is lost either.
    assert decode_value(stored.decode("utf-8", "surrogateescape")) == value


def test_readers_need_not_know_who_wrote() -> None:
    value = {"a": [1, "x"], "b": None}
    packed, plain = encode_value(value, "msgpack"), encode_value(value, "json")

    assert is_msgpack(packed) and not is_msgpack(plain)
    assert decode_value(packed) == decode_value(plain) == json.loads(plain) == value
    assert decode_value(' {"written": "by hand"}') == {"written": "by hand"}


def test_what_pytask_writes_itself_is_json_under_both() -> None:
    assert encode_value(None, "msgpack") == b"null"
    assert encode_data("t", {}, settings(serializer="msgpack")) == b"{}"


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, "it holds a set"),
        ({"a": [{"b": {3}}]}, r"field 'a\[0\].b' holds a set"),
        ({"a": [1, object()]}, r"field 'a\[1\]' holds an object"),
        ({"on": date(2026, 1, 1)}, "field 'on' holds a date"),
        ({"on": datetime(2026, 1, 1)}, "field 'on' holds a datetime"),
        ({"by": {(1, 2): 3}}, "field 'by' has a key of type tuple"),
        ({"a b": complex(1)}, r"a b.* holds a complex"),
    ],
)
def test_what_has_no_form_is_named_with_its_place(serializer: str, value: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        encode_value(value, serializer)


def test_names_of_arguments_are_text() -> None:
    with pytest.raises(InvalidTask, match="'t' task: the names of arguments are text"):
        encode_data("t", {1: "x"}, settings(serializer="msgpack"))  # type: ignore[dict-item]


def test_bytes_in_json_are_refused_with_a_hint() -> None:
    with pytest.raises(InvalidTask, match=r"'t'.*'picture' holds bytes; serializer=\"msgpack\""):
        encode_data("t", {"picture": b"\xff"}, settings())


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_what_holds_itself_or_is_too_deep_is_refused(serializer: str) -> None:
    loop: list[Any] = []
    loop.append(loop)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep, {"a": [deep, object()]}):
        with pytest.raises((ValueError, TypeError)):
            encode_value(value, serializer)


@pytest.mark.parametrize(("serializer", "named"), [("json", "JSON"), ("msgpack", "MessagePack")])
def test_data_beyond_the_limit_are_refused_with_both_numbers(serializer: str, named: str) -> None:
    limits = settings(serializer=serializer, max_data_bytes=1000)
    encode_data("big", {"a": "x" * 900}, limits)

    with pytest.raises(InvalidTask, match=rf"'big'.*bytes of {named}.*max_data_bytes=1,000"):
        encode_data("big", {"a": "x" * 1000}, limits)


def test_what_neither_format_holds_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 64 bits"):
        encode_value({"big": 2**64, "raw": b"x"}, "msgpack")


def test_there_is_no_other_serializer() -> None:
    with pytest.raises(ConfigurationError, match="serializer='pickle': json or msgpack"):
        settings(serializer="pickle")


def test_an_event_has_the_format_of_its_data() -> None:
    for serializer in ("json", "msgpack"):
        for name in ("progress", "ä" * 200):
            message = encode_event(name, encode_value({"n": 1}, serializer))
            assert decode_value(message) == {"event": name, "data": {"n": 1}}
    assert encode_event("a", b"null") == b'{"event":"a","data":null}'


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xc1",
        b"\xc1\xc1",
        b"\xc1\x01\x02",
        b"\xc1\xdd\xff\xff\xff\xff",
        b"\xc1\xdf\xff\xff\xff\xff",
        b"\xc1\xdb\xff\xff\xff\xff",
        b"\xc1\xa1\xff",
        b"\xc1\x81\x80\x01",
        b"\xc1\xd4\x05\x00",
        b"\xc1\xc7\x0c\xff" + b"\xff" * 12,
        b"\xc1" + b"\x91" * 100_000,
    ],
    ids=lambda value: repr(value[:7]),
)
def test_damaged_messagepack_is_a_value_error_and_takes_no_memory(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="not MessagePack"):
        decode_value(damaged)


def test_any_bytes_are_decoded_or_refused_and_what_is_decoded_can_be_shown() -> None:
    random = Random(4)
    for _ in range(20_000):
        raw = b"\xc1" + random.randbytes(random.randrange(12))
        try:
            value = decode_value(raw)
        except ValueError:
            continue
        json.dumps(readable(value), allow_nan=False)


def test_whoever_reads_json_only_gets_json() -> None:
    value = {"raw": b"\xff", "at": NOW.astimezone(UTC), 1: math.nan, b"k": [math.inf, "x"]}
    assert readable(value) == {
        "raw": "/w==",
        "at": "2026-11-21T04:00:00.123456Z",
        "1": None,
        "k": [None, "x"],
    }
    assert readable("half \ud800") == "half \ud800"
