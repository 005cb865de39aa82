"""Whatever is sent, the answer has the form of the protocol, and the next call works."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytask import PyTask
from pytask.rpc import wsgi
from pytask.rpc.server import RpcServer, make_server
from tests.rpc.conftest import Caller
from tests.support.namespace import Namespace

CALL = b'{"jsonrpc": "2.0", "id": 1, "method": "num_tasks"}'
METHODS = [
    *("job_list", "queue_task", "get_task", "get_tasks", "wait_for_task", "num_tasks"),
    *("next_scheduled_tasks", "stop_task", "reload_task", "restart_task", "rpc.discover", "f"),
]
CODES = {-32700, -32600, -32601, -32602, -32001, -32003, -32004}
LENIENT = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**320)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["f", "WAIT", "default", "\x00", "\ud800", "x" * 600]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "name", "data", "state", "task", "queue", "limit", "cursor"])
            | st.text(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
calls = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(METHODS) | st.text()},
    optional={"id": values, "params": values, "more": values},
)


@pytest.fixture(scope="module")
def app(valkey_server: Any) -> Iterator[PyTask]:
    names = Namespace.fresh()
    app = PyTask(valkey_server.url, **names.options)
    app.task(name="f")(lambda **data: None)
    yield app
    app.helpers.close()
    names.remove([valkey_server.client()])


@pytest.fixture(scope="module")
def rpc(app: PyTask) -> Caller:
    return Caller(wsgi(app, max_wait=0.01))


@pytest.fixture(scope="module")
def server(app: PyTask) -> Iterator[RpcServer]:
    server = make_server(app, "127.0.0.1:0", max_wait=0.01)
    server.start()
    yield server
    server.stop(0)


def check(answer: Any) -> None:
    """Check that an answer is one of the protocol."""
    if answer.status == 204:
        assert answer.body == b""
        return
    assert answer.status == 200
    replies = answer.value if isinstance(answer.value, list) else [answer.value]
    assert replies
    for reply in replies:
        assert reply["jsonrpc"] == "2.0"
        assert ("result" in reply) != ("error" in reply)
        assert reply["id"] is None or type(reply["id"]) in (str, int, float)
        if "error" in reply:
            assert reply["error"]["code"] in CODES, reply
            assert isinstance(reply["error"]["message"], str)


@LENIENT
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf" + CALL)
@example(CALL.replace(b"num_tasks", b"\xff"))
@example(b'{"a":' * 3000)
@example(b'{"jsonrpc":"2.0","id":1,"method":"job_list","params":' + b"[" * 900 + b"]" * 900 + b"}")
@example(b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"job_list"}')
@example(b'{"jsonrpc":"2.0","id":1,"method":"\\ud800","params":[' + b"9" * 5000 + b"]}")
@example(b'{"jsonrpc":"2.0","id":1e-999999999,"method":"job_list","params":[1e99999]}')
def test_any_bytes(rpc: Caller, body: bytes) -> None:
    check(rpc.send(body))


@LENIENT
@given(values)
def test_any_json(rpc: Caller, value: Any) -> None:
    check(rpc.send(json.dumps(value).encode()))


@LENIENT
@given(calls | st.lists(calls, max_size=4))
def test_any_call(rpc: Caller, value: Any) -> None:
    check(rpc.send(json.dumps(value).encode()))


@LENIENT
@given(calls, st.data())
def test_a_call_that_is_cut_off_or_damaged(rpc: Caller, value: Any, data: Any) -> None:
    body = bytearray(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    at = data.draw(st.integers(0, len(body) - 1))
    if data.draw(st.booleans()):
        body[at] = data.draw(st.integers(0, 255))
    else:
        del body[at:]
    check(rpc.send(bytes(body)))


@settings(LENIENT, max_examples=60)
@given(
    st.binary(max_size=60) | st.just(CALL),
    st.integers(-2, 200) | st.just(len(CALL)),
    st.sampled_from(["POST", "GET", "HEAD", "PUT", "P\x00ST", "post"]),
    st.lists(st.binary(max_size=40), max_size=3),
)
def test_any_request_over_the_network(
    server: RpcServer, body: bytes, length: int, verb: str, headers: list[bytes]
) -> None:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    head = f"{verb} / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Connection: close\r\nContent-Length: {length}\r\n"
    more = b"".join(one.replace(b"\n", b"") + b"\r\n" for one in headers)
    for sent in (head.encode() + more + b"\r\n" + body, well_formed()):
        with socket.create_connection(("127.0.0.1", port), 45) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: receive(connection), b""))
        assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert b'"result":0' in answer, "the next client is served"


def well_formed() -> bytes:
    head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(CALL)}\r\n\r\n".encode() + CALL


def receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""
