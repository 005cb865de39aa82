"""What HTTP adds: who may call, what is read, and a server that stays alive."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pytask import PyTask
from pytask.exceptions import ConfigurationError
from pytask.rpc import server as rpc_server
from pytask.rpc.server import RpcServer, make_server, read_bind
from tests.rpc.conftest import Caller

TOKEN = "correct-horse-battery-staple"
CALL = b'{"jsonrpc": "2.0", "id": 1, "method": "num_tasks"}'


@pytest.fixture
def serve(app: PyTask) -> Iterator[Callable[..., RpcServer]]:
    """Serve the app on a free port of loopback."""
    servers: list[RpcServer] = []

    def start(bind: str = "127.0.0.1:0", **options: Any) -> RpcServer:
        servers.append(make_server(app, bind, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for one in servers:
        one.stop(0)


def port_of(server: RpcServer) -> int:
    return int(server.url.rstrip("/").rpartition(":")[2])


def post(server: RpcServer, body: bytes = CALL, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=45)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/", body, {"Content-Type": "application/json", **named})
    with connection.getresponse() as response:
        text = response.read()
        status = response.status
    connection.close()
    return status, json.loads(text) if text else None


def raw(server: RpcServer, text: bytes, end: bool = True) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port_of(server)), 45) as connection:
        connection.sendall(text)
        if end:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"REQUEST_METHOD": "GET"}, 405),
        ({"REQUEST_METHOD": "OPTIONS"}, 405),
        ({"PATH_INFO": "/admin"}, 404),
        ({"PATH_INFO": ""}, 200),
        ({"CONTENT_TYPE": "text/plain"}, 415),
        ({"CONTENT_TYPE": None}, 415),
        ({"CONTENT_TYPE": "application/json; charset=utf-8"}, 200),
        ({"CONTENT_TYPE": "application/json-rpc"}, 200),
        ({"CONTENT_LENGTH": None}, 411),
        ({"CONTENT_LENGTH": None, "wsgi.input_terminated": True}, 200),
        ({"CONTENT_LENGTH": "ten"}, 400),
        ({"CONTENT_LENGTH": "-1"}, 400),
        ({"CONTENT_LENGTH": "1000"}, 400),
        ({"CONTENT_LENGTH": "9" * 30}, 413),
        ({"CONTENT_LENGTH": "2000001"}, 413),
        ({"HTTP_HOST": "evil.example"}, 200),
    ],
)
def test_a_request_that_is_no_call_has_a_status(
    rpc: Caller, environ: dict[str, Any], status: int
) -> None:
    answer = rpc.send(CALL, **environ)
    assert answer.status == status
    assert answer.value["jsonrpc"] == "2.0", "a client of the protocol can read it"
    assert ("error" in answer.value) == (status != 200)


def test_notifications_are_answered_by_204(rpc: Caller) -> None:
    body = b'{"jsonrpc": "2.0", "method": "num_tasks"}'
    assert rpc.send(body)[::2] == (204, b"")
    assert rpc.send(b"[" + body + b"," + body + b"]")[::2] == (204, b"")


def test_a_body_beyond_the_limit_is_not_read(make_rpc: Callable[..., Caller]) -> None:
    rpc = make_rpc(max_body=100)
    assert rpc.send(b" " * 100).status == 200
    assert rpc.send(b" " * 101).status == 413
    endless = {"CONTENT_LENGTH": None, "wsgi.input_terminated": True}
    assert rpc.send(b" " * 101, **endless).status == 413


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"],
)
def test_without_the_token_nothing_is_done(make_rpc: Callable[..., Caller], header: str) -> None:
    answer = make_rpc(token=TOKEN).send(CALL, HTTP_AUTHORIZATION=header)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN.encode() not in answer.body


def test_with_the_token_it_is(make_rpc: Callable[..., Caller]) -> None:
    answer = make_rpc(token=TOKEN).send(CALL, HTTP_AUTHORIZATION=f"bearer {TOKEN}")
    assert answer.value["result"] == 0


@pytest.mark.parametrize("options", [{"token": "short"}, {"token": ""}, {"max_batch": 0}])
def test_options_that_let_anybody_in_or_nobody_are_refused(
    make_rpc: Callable[..., Caller], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError):
        make_rpc(**options)


def test_a_failure_of_the_app_itself_is_a_500_that_tells_nothing(
    rpc: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rpc.application, "methods", None)
    answer = rpc.send(CALL)
    assert (answer.status, answer.value["error"]["code"]) == (500, -32603)
    assert answer.value["error"]["data"]["error_id"] in caplog.text


# The server


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "example.com:0"])
def test_a_server_everybody_reaches_needs_a_token(app: PyTask, bind: str) -> None:
    with pytest.raises(ConfigurationError, match="give a token, or --allow-without-token"):
        make_server(app, bind)


def test_it_may_be_reached_by_all_if_it_is_said(serve: Callable[..., RpcServer]) -> None:
    assert post(serve("0.0.0.0:0", token=TOKEN))[0] == 401
    assert post(serve("0.0.0.0:0", allow_without_token=True))[0] == 200


@pytest.mark.parametrize("bind", ["8042", ":8042", "host:port", "127.0.0.1:99999", "::1"])
def test_an_address_to_listen_on_has_a_form(bind: str) -> None:
    if bind == "::1":
        bind = "[::1]"
    with pytest.raises(ConfigurationError, match="HOST:PORT is needed"):
        read_bind(bind)


def test_a_port_that_is_taken_is_told(app: PyTask, serve: Callable[..., RpcServer]) -> None:
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        make_server(app, f"127.0.0.1:{port_of(serve())}")


def test_a_page_in_a_browser_does_not_reach_a_server_without_token(
    serve: Callable[..., RpcServer],
) -> None:
    server = serve()
    assert post(server, Host="rebound.example:8042")[0] == 403
    assert post(server, Host=f"localhost:{port_of(server)}")[0] == 200
    assert post(server, Content_Type="text/plain")[0] == 415


def test_who_waits_holds_up_nobody(app: PyTask, serve: Callable[..., RpcServer]) -> None:
    server = serve()
    app.helpers.submit("add", {"a": 1}, task_id="t")
    call = b'{"jsonrpc": "2.0", "id": 1, "method": "wait_for_task", "params": ["t"]}'
    waiting = [gevent.spawn(post, server, call) for _ in range(20)]
    assert post(server) == (200, {"jsonrpc": "2.0", "id": 1, "result": 0})
    app.helpers.stop_task("t")
    for one in waiting:
        assert one.get(timeout=45)[1]["result"]["state"] == "STOPPED"


def test_a_stop_answers_those_who_wait(app: PyTask, serve: Callable[..., RpcServer]) -> None:
    server = serve()
    app.helpers.submit("add", {"a": 1}, task_id="t")
    call = b'{"jsonrpc": "2.0", "id": 1, "method": "wait_for_task", "params": ["t"]}'
    waiting = gevent.spawn(post, server, call)
    while not len(server._pool):
        gevent.sleep(0.01)
    server.stop(45)
    assert waiting.get(timeout=45)[1]["error"]["code"] == -32005


def test_a_stop_does_not_wait_for_clients_that_ask_for_nothing(
    serve: Callable[..., RpcServer],
) -> None:
    server = serve()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=45)
    connection.request("POST", "/", CALL, {"Content-Type": "application/json"})
    assert connection.getresponse().read()
    stop = gevent.spawn(server.stop, 600)
    stop.get(timeout=45)
    connection.close()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"\r\n\r\n", b"400"),
        (b"rubbish\r\n\r\n", b"400"),
        (b"POST / HTTP/9.9\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n", b"400"),
        (b"POST /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n", b"400"),
        (b"\x16\x03\x01\x00\xa5\x01\x00", b"400"),
        (b"", b""),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 500\r\n\r\n{",
            b"400",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"400",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\n\r\n{",
            b"413",
        ),
    ],
    ids=range(12),
)
def test_the_server_survives_what_is_no_http(
    serve: Callable[..., RpcServer], capfd: pytest.CaptureFixture[str], text: bytes, status: bytes
) -> None:
    server = serve()
    answer = raw(server, text)
    assert answer.partition(b"\r\n")[0].split(b" ")[1:2] == ([status] if status else [])
    assert post(server)[0] == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_chunked_bodies_are_read(serve: Callable[..., RpcServer]) -> None:
    head = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CALL), CALL)
    assert b'"result":0' in raw(serve(), head + body)


def test_a_client_that_falls_silent_is_let_go(
    serve: Callable[..., RpcServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_server, "SILENCE", 0.1)
    server = serve(max_wait=600)
    assert raw(server, b"", end=False) == b""
    assert raw(server, b"POST / HTTP/1.1\r\nHost: loc", end=False)[9:12] in (b"", b"400")
    monkeypatch.setattr(rpc_server, "SILENCE", 45.0)
    assert post(server)[0] == 200


def test_a_client_that_sends_a_byte_now_and_then_is_let_go(
    serve: Callable[..., RpcServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setattr(server._server, "request_seconds", 0.3)
    with (
        socket.create_connection(("127.0.0.1", port_of(server)), 45) as connection,
        pytest.raises(OSError),
    ):
        while True:
            connection.sendall(b"P")
            gevent.sleep(0.05)
    assert server._pool.wait_available(45)


def test_it_can_be_mounted_under_a_prefix_of_a_flask_app(app: PyTask) -> None:
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    from pytask.rpc import wsgi

    site = Flask("site")
    site.add_url_rule("/", view_func=lambda: "hello")
    mounted = DispatcherMiddleware(site.wsgi_app, {"/jobs": wsgi(app, token=TOKEN)})
    site.wsgi_app = mounted  # type: ignore[method-assign]
    client = site.test_client()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    assert client.get("/").text == "hello"
    assert client.post("/jobs", data=CALL, headers=headers).json["result"] == 0
    assert client.post("/jobs/", data=CALL, headers=headers).json["result"] == 0
    assert client.post("/jobs", data=CALL).status_code == 401
    assert client.post("/jobs/more", data=CALL, headers=headers).status_code == 404
