"""records: IDs, and the JSON that travels in records."""

import json
import math
import re
from datetime import datetime
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytask import records
from pytask.exceptions import InvalidTask
from pytask.records import check_task_id, from_json, id_to_bytes, to_json, to_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@settings(derandomize=True, database=None, max_examples=200)
@given(VALUES.filter(lambda value: "Infinity" not in json.dumps(value)))
def test_json_comes_back_as_it_went(value):
    encoded = to_json(value)
    assert encoded == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    decoded = from_json(encoded)
    assert decoded == value
    assert json.dumps(decoded) == json.dumps(value)


@settings(derandomize=True, database=None, max_examples=300)
@given(
    st.binary(max_size=30) | st.text(alphabet='[]{}",:\\ 0123456789eE+-.truefalsn').map(str.encode)
)
def test_whatever_the_bytes_they_decode_or_are_refused(value):
    try:
        decoded = from_json(value)
    except ValueError:
        return
    assert from_json(to_json(decoded)) == decoded


@pytest.mark.parametrize("value", [0, 2**63, 2**64, 10**40, -(10**40), 9007199254740993, []])
def test_numbers_and_empty_lists_are_not_bent(value):
    back = from_json(to_json(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value", [object(), {1}, b"bytes", datetime(2020, 1, 1), 1j, {"a": {2}}, MappingProxyType({})]
)
def test_what_json_has_no_form_for_is_refused(value):
    with pytest.raises(TypeError):
        to_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ValueError):
        to_json(value)


@pytest.mark.parametrize("value", ["\ud800", "a\udcffb", ["\udfff", 10**30], {"\ud800": 1}])
def test_text_that_is_no_unicode_comes_back_as_it_went(value):
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize(
    "value", [rb'["\ud800",NaN]', rb'"\ud800', rb'["\ud800",]', b'"\\ud800\xff"']
)
def test_such_text_does_not_excuse_what_is_not_json(value):
    with pytest.raises(ValueError):
        from_json(value)


def test_what_holds_itself_or_is_nested_without_end_is_refused():
    value = []
    value.append(value)
    with pytest.raises(ValueError):
        to_json(value)
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError):
        to_json(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"[1,]", b"NaN", b"Infinity", b"\xff", b'"\xff"', b"1 2", b"{'a':1}", b"[" * 100_000],
    ids=lambda value: repr(value[:9]),
)
def test_what_is_not_json_is_refused(value):
    with pytest.raises(ValueError):
        from_json(value)


@settings(derandomize=True, database=None)
@given(TEXT.filter(lambda text: not re.search(r"[\x00-\x1f\x7f-\x9f]", text)))
def test_any_text_without_control_characters_can_be_an_id(task_id):
    if not task_id or len(task_id.encode()) > 512:
        with pytest.raises(InvalidTask):
            check_task_id(task_id)
    else:
        assert check_task_id(task_id) == task_id


@pytest.mark.parametrize("task_id", ["a", "a b", "é", "{}", "x" * 512, "é" * 256, "\udcff"])
def test_usable_ids_pass(task_id):
    assert check_task_id(task_id) == task_id


@pytest.mark.parametrize(
    "task_id",
    ["", "a\nb", "\x00", "a\x1f", "x" * 513, "é" * 257, "😀" * 129, "\ud800", "a\udfffb"],
    ids=ascii,
)
def test_unusable_ids_are_refused(task_id):
    with pytest.raises(InvalidTask):
        check_task_id(task_id)


@pytest.mark.parametrize("task_id", [None, 1, b"bytes", ["a"]])
def test_an_id_is_a_text(task_id):
    with pytest.raises(InvalidTask, match="text"):
        check_task_id(task_id)


@settings(derandomize=True, database=None)
@given(st.binary())
def test_bytes_survive_the_way_through_text(value):
    assert id_to_bytes(to_text(value)) == value


def test_ids_and_request_ids_do_not_repeat():
    assert len({records.new_task_id() for _ in range(1_000)}) == 1_000
    assert len({records.new_request_id() for _ in range(1_000)}) == 1_000
    assert re.fullmatch("[0-9a-f]{16}", records.new_request_id())
