"""An app with a few tasks on keys of its own, and ways to call it."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from pytask import PyTask, Task
from pytask.rpc import RpcApplication, wsgi
from tests.support.namespace import Namespace


class Slow(Task):
    """A service."""

    NAME = "slow"
    QUEUE = "services"

    def start(self) -> None:
        raise NotImplementedError


class Answer(NamedTuple):
    """What came back over WSGI."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


class Caller:
    """Calls a WSGI app without a network."""

    def __init__(self, application: RpcApplication) -> None:
        self.application = application

    def send(self, body: bytes, **environ: Any) -> Answer:
        """Send a body; ``environ`` adds to or overrides the environment, None takes away."""
        plain = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "REMOTE_ADDR": "127.0.0.1",
        }
        started: list[tuple[str, list[tuple[str, str]]]] = []
        merged = {name: one for name, one in (plain | environ).items() if one is not None}
        parts = self.application(merged, lambda *args: started.append(args))
        ((status, headers),) = started
        return Answer(int(status[:3]), dict(headers), b"".join(parts))

    def call(self, method: str, /, *args: Any, **params: Any) -> Any:
        """Call a method; return its result."""
        reply = self.reply(method, *args, **params)
        assert "error" not in reply, reply
        return reply["result"]

    def fail(self, method: str, /, *args: Any, **params: Any) -> tuple[int, str, Any]:
        """Call a method that fails; return code, message and data."""
        error = self.reply(method, *args, **params)["error"]
        return error["code"], error["message"], error.get("data")

    def reply(self, method: str, /, *args: Any, **params: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": 7, "method": method, "params": args or params}
        answer = self.send(json.dumps(call).encode())
        assert answer.status == 200
        assert answer.value["id"] == 7
        return answer.value


@pytest.fixture
def app(valkey_server: Any) -> Iterator[PyTask]:
    """An app with the tasks ``add`` and ``slow``."""
    names = Namespace.fresh()
    app = PyTask(valkey_server.url, redis_patience=0.3, **names.options)
    app.add_task(Slow)

    @app.task(max_retries=2, retry_delay=5, queue="sums")
    def add(a: int, b: int = 0) -> int:
        """Add two numbers."""
        return a + b

    yield app
    app.helpers.close()
    names.remove([valkey_server.client()])


@pytest.fixture
def make_rpc(app: PyTask) -> Callable[..., Caller]:
    """Serve the app with options of ``wsgi``."""
    return lambda **options: Caller(wsgi(app, **options))


@pytest.fixture
def rpc(make_rpc: Callable[..., Caller]) -> Caller:
    """The app, served as it is."""
    return make_rpc()
