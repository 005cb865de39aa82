"""signatures: a call becomes data, and data a call again."""

import dataclasses
import datetime
import enum
import json
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from pytask.exceptions import ConfigurationError, UnfitTask
from pytask.signatures import Signature


def plain(a, b=2, *rest, key, other=5, **more):
    pass


def back_and_forth(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a worker would call, given what somebody submits."""
    signature = Signature(function, "t")
    return signature.to_call(json.loads(json.dumps(signature.to_data(args, kwargs))))


def test_arguments_are_stored_by_name() -> None:
    data = Signature(plain, "t").to_data((1, 2, 3, 4), {"key": 6, "free": 7})
    assert data == {"a": 1, "b": 2, "rest": [3, 4], "key": 6, "free": 7}


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {"key": 2}),
        ((1, 2), {"key": 2, "other": 3}),
        ((1, 2, 3, 4), {"key": 2, "free": 9}),
    ],
)
def test_what_is_called_is_what_was_submitted(args: Any, kwargs: Any) -> None:
    assert back_and_forth(plain, *args, **kwargs) == (args, kwargs)


def test_an_omitted_argument_before_a_given_one_keeps_its_default() -> None:
    def function(a=1, b=2):
        return a, b

    args, kwargs = Signature(function, "t").to_call({"b": 5})
    assert function(*args, **kwargs) == (1, 5)


def test_positional_only_arguments_have_names_in_the_data() -> None:
    def function(a, b=2, /):
        pass

    assert Signature(function, "t").to_data((1,), {}) == {"a": 1}
    assert back_and_forth(function, 1, 3) == ((1, 3), {})


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({}, "missing a required argument: 'a'"),
        ({"a": 1, "key": 1, "rest": 5}, "argument 'rest' of task 't': an array"),
    ],
)
def test_data_that_do_not_fit_are_refused(data: Any, complaint: str) -> None:
    with pytest.raises(UnfitTask, match=complaint):
        Signature(plain, "t").to_call(data)


def test_a_misspelt_argument_is_refused_on_both_sides() -> None:
    def function(a=1):
        pass

    with pytest.raises(UnfitTask, match="'b'"):
        Signature(function, "t").to_data((), {"b": 1})
    with pytest.raises(UnfitTask, match="'b'"):
        Signature(function, "t").to_call({"b": 1})


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Order(msgspec.Struct):
    number: int


class Foreign:
    pass


def typed(
    number: int = 0,
    when: datetime.datetime | None = None,
    ident: uuid.UUID | None = None,
    color: Color = Color.RED,
    points: list[Point] | None = None,
    order: Order | None = None,
    small: Annotated[int, msgspec.Meta(le=9)] = 0,
    by_name: dict[str, float] | None = None,
    foreign: "Foreign | None" = None,
    foreigners: "list[Foreign] | None" = None,
) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 5),
        ("when", datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)),
        ("ident", uuid.uuid4()),
        ("color", Color.RED),
        ("points", [Point(1), Point(2, 3)]),
        ("order", Order(7)),
        ("by_name", {"a": 1.5}),
        ("foreign", None),
    ],
)
def test_typed_values_survive_the_way_through_json(name: str, value: Any) -> None:
    args, kwargs = back_and_forth(typed, **{name: value})
    assert [*args, *kwargs.values()] == [value]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"number": "5"}, "argument 'number' of task 't': Expected `int`, got `str`"),
        ({"when": "yesterday"}, "argument 'when'.*RFC3339"),
        ({"color": "blue"}, "argument 'color'.*'blue'"),
        ({"points": [{"x": 1}, {"y": 2}]}, r"argument 'points'.*missing required field `x`.*\[1\]"),
        ({"small": 10}, "argument 'small'.*<= 9"),
    ],
)
def test_a_wrong_type_is_told_by_the_name_of_its_argument(data: Any, complaint: str) -> None:
    with pytest.raises(UnfitTask, match=complaint):
        Signature(typed, "t").to_call(data)


def test_a_wrong_type_is_refused_where_the_task_is_started() -> None:
    with pytest.raises(UnfitTask, match="argument 'number'"):
        Signature(typed, "t").to_data(("5",), {})


def test_the_rest_is_checked_one_by_one() -> None:
    def function(*numbers: int, **names: str) -> None:
        pass

    assert back_and_forth(function, 1, 2, a="x") == ((1, 2), {"a": "x"})
    with pytest.raises(UnfitTask, match=r"argument 'numbers\[1\]'"):
        Signature(function, "t").to_data((1, "2"), {})
    with pytest.raises(UnfitTask, match="argument 'a'"):
        Signature(function, "t").to_data((), {"a": 1})


def test_a_type_that_cannot_come_from_json_is_not_checked() -> None:
    assert Signature(typed, "t").to_call({"foreign": {"any": 1}}) == ((), {"foreign": {"any": 1}})
    assert Signature(typed, "t").to_call({"foreigners": [1]}) == ((), {"foreigners": [1]})


def test_an_annotation_that_names_nothing_is_told_at_once() -> None:
    def function(a: "Nowhere") -> None:  # noqa: F821
        pass

    with pytest.raises(ConfigurationError, match=r"task 't': an annotation of .*Nowhere"):
        Signature(function, "t")


def test_bytes_stay_bytes_in_messagepack_and_travel_as_base64_in_json() -> None:
    def store(picture: bytes, *more: bytes, on: datetime.datetime | None = None) -> None: ...

    signature = Signature(store, "t")
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    args, kwargs = (b"\xff", b"\x00"), {"on": at}

    packed = signature.to_data(args, kwargs, "msgpack")
    assert (packed["picture"], packed["more"]) == (b"\xff", [b"\x00"])
    plain = signature.to_data(args, kwargs)
    assert (plain["picture"], plain["more"]) == ("/w==", ["AA=="])
    for data in (packed, plain, {**packed, "on": at}):
        assert signature.to_call(data) == (args, kwargs)


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_bytes_are_no_text(serializer: str) -> None:
    def send(to: str) -> None: ...

    with pytest.raises(UnfitTask, match="argument 'to' of task 't': Expected `str`, got `bytes`"):
        Signature(send, "t").to_data((b"a",), {}, serializer)
    with pytest.raises(UnfitTask, match="Expected `str`, got `bytes`"):
        Signature(send, "t").to_call({"to": b"a"})
