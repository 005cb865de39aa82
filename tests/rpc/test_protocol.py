"""Requests, batches, notifications and error codes, as JSON-RPC 2.0 has them."""

import functools
import json
import re
import sys
from typing import Any

import pytest

from pytask.rpc import RpcError
from pytask.rpc.errors import ErrorCode
from pytask.rpc.protocol import answer
from tests.support.worker import ROOT

CALLS: list[Any] = []


def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


def note(*values: Any) -> None:
    CALLS.append(values)


def explode() -> None:
    raise RuntimeError("password=hunter2")


def refuse(task_id: str) -> None:
    raise RpcError(-1, "not today", None)


METHODS = {
    "subtract": subtract,
    "note": note,
    "explode": explode,
    "refuse": refuse,
    "leave": sys.exit,
    "unserializable": lambda: {1, 2},
    "partial": functools.partial(subtract, 10),
}


def ask(text: str | bytes, max_batch: int = 5) -> Any:
    body = text.encode() if isinstance(text, str) else text
    reply = answer(body, METHODS, max_batch)
    return None if reply is None else json.loads(reply)


def call(method: str, params: Any, call_id: Any = 1) -> Any:
    return ask(json.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}))


def code_of(reply: Any) -> int:
    assert reply["jsonrpc"] == "2.0" and "result" not in reply
    return int(reply["error"]["code"])


def test_parameters_may_be_given_by_position_or_by_name() -> None:
    assert call("subtract", [42, 23]) == {"jsonrpc": "2.0", "id": 1, "result": 19}
    assert call("subtract", {"subtrahend": 23, "minuend": 42})["result"] == 19
    assert call("partial", {"subtrahend": 4})["result"] == 6


@pytest.mark.parametrize("call_id", ["x", "", 0, -5, 1.5, None, 2**53])
def test_the_answer_has_the_id_of_the_call(call_id: Any) -> None:
    assert call("subtract", [2, 1], call_id) == {"jsonrpc": "2.0", "id": call_id, "result": 1}


def test_a_notification_is_carried_out_and_not_answered() -> None:
    CALLS.clear()
    assert ask('{"jsonrpc": "2.0", "method": "note", "params": [1]}') is None
    assert ask('[{"jsonrpc": "2.0", "method": "note", "params": [2]}]') is None
    assert ask('{"jsonrpc": "2.0", "method": "explode"}') is None
    assert ask('{"jsonrpc": "2.0", "method": "nobody"}') is None
    assert CALLS == [(1,), (2,)]


def test_a_batch_is_answered_call_by_call() -> None:
    replies = ask(
        """[{"jsonrpc": "2.0", "id": "a", "method": "subtract", "params": [3, 1]},
            {"jsonrpc": "2.0", "method": "note"},
            {"foo": "bar"},
            {"jsonrpc": "2.0", "id": "b", "method": "nobody"}]"""
    )
    assert [one["id"] for one in replies] == ["a", None, "b"]
    assert replies[0]["result"] == 2
    assert [code_of(one) for one in replies[1:]] == [-32600, -32601]


def test_a_batch_of_rubbish_is_answered_with_one_error_each() -> None:
    assert [code_of(one) for one in ask("[1, null]")] == [-32600, -32600]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", -32700),
        ("{", -32700),
        ('[{"jsonrpc": "2.0", "method": "note"', -32700),
        (b"\xff\xfe{}", -32700),
        ("NaN", -32700),
        ("[" * 100_000, -32700),
        ("[" * 5_000 + "]" * 5_000, -32700),
        ("[]", -32600),
        ("[1, 2, 3, 4, 5, 6]", -32600),
        ("1", -32600),
        ('"text"', -32600),
        ("{}", -32600),
        ('{"jsonrpc": "1.0", "id": 1, "method": "note"}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "method": 1}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "method": "note", "params": "x"}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "method": "note", "params": null}', -32600),
        ('{"jsonrpc": "2.0", "id": {}, "method": "note"}', -32600),
        ('{"jsonrpc": "2.0", "id": true, "method": "note"}', -32600),
        ('{"jsonrpc": "2.0", "id": 1e999, "method": "note", "params": ["\\ud800"]}', -32600),
        ('{"jsonrpc": "2.0", "id": 1, "method": "__class__"}', -32601),
        ('{"jsonrpc": "2.0", "id": 1, "method": "subtract.__globals__"}', -32601),
        ('{"jsonrpc": "2.0", "id": 1, "method": "subtract", "params": [1]}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "subtract", "params": [1, 2, 3]}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "subtract", "params": [1, "2"]}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "subtract", "params": {"minuend": 1}}', -32602),
        ('{"jsonrpc": "2.0", "id": 1, "method": "explode"}', -32603),
        ('{"jsonrpc": "2.0", "id": 1, "method": "unserializable"}', -32603),
        ('{"jsonrpc": "2.0", "id": 1, "method": "leave"}', -32603),
    ],
)
def test_what_is_wrong_has_its_code(body: str | bytes, code: int) -> None:
    reply = ask(body)
    assert code_of(reply) == code
    assert "id" in reply


def test_the_text_of_an_unexpected_exception_goes_to_the_log_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reply = call("explode", [])
    assert "hunter2" not in json.dumps(reply)
    assert "hunter2" in caplog.text
    assert reply["error"]["data"]["error_id"] in caplog.text


def test_a_method_may_say_why_it_fails() -> None:
    error = call("refuse", ["t-1"])["error"]
    assert error == {"code": -1, "message": "not today", "data": {"task_id": "t-1"}}


def test_a_member_that_stands_twice_counts_as_it_stands_last() -> None:
    reply = ask('{"jsonrpc":"2.0","id":1,"id":2,"method":"subtract","params":[2,1]}')
    assert reply == {"jsonrpc": "2.0", "id": 2, "result": 1}


def test_every_code_is_in_the_table_of_the_manual() -> None:
    page = (ROOT / "docs" / "howto" / "json-rpc.md").read_text()
    assert sorted(map(int, re.findall(r"^\| (-\d+) \|", page, re.M))) == sorted(ErrorCode)
