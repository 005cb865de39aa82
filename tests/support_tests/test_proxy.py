"""Each fault of the proxy shows at the client and at the server as its name says."""

import pytest
import redis

from tests.support.clients import single_client
from tests.support.proxy_process import Splitter, message_end
from tests.support.waiting import wait_until


@pytest.fixture
def server(valkey_server):
    valkey_server.command("DEL", "proxy-list")
    return valkey_server


@pytest.fixture
def gate(proxy, server):
    return proxy(server)


@pytest.fixture
def client(gate):
    client = single_client(host=gate.host, port=gate.port, socket_timeout=0.3)
    client.ping()
    return client


def pushed(server) -> int:
    return server.command("LLEN", "proxy-list")


def test_cut_on_reply_hides_a_write_that_happened(gate, client, server):
    gate.cut_on_reply(request=b"RPUSH", after=1)
    client.get("other")
    client.rpush("proxy-list", 1)
    with pytest.raises(redis.ConnectionError):
        client.rpush("proxy-list", 2)

    assert pushed(server) == 2
    assert client.rpush("proxy-list", 3) == 3  # once only
    assert gate.counts["cut"] == 1


def test_swallowed_replies_time_out_after_the_write(gate, client, server):
    gate.swallow_replies(request=b"RPUSH")
    with pytest.raises(redis.TimeoutError):
        client.rpush("proxy-list", 1)
    gate.allow()

    assert pushed(server) == 1
    assert client.ping()


def test_dropped_requests_time_out_without_a_write(gate, client, server):
    gate.drop_requests(request=b"RPUSH")
    with pytest.raises(redis.TimeoutError):
        client.rpush("proxy-list", 1)

    assert pushed(server) == 0


def test_a_black_hole_accepts_connections_and_stays_silent(gate, client):
    gate.black_hole()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    gate.allow()
    assert client.ping()


def test_refuse_resets_and_rejects_until_it_allows_again(gate, client):
    gate.refuse()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    gate.allow()
    assert client.ping()


def test_delayed_replies_arrive_late(gate, client):
    gate.delay(0.1)
    assert client.ping()
    gate.delay(1.0)
    with pytest.raises(redis.TimeoutError):
        client.ping()


def test_disconnect_resets_what_is_open_and_serves_what_comes(gate, client):
    before = gate.counts["connections"]
    gate.disconnect()
    wait_until(lambda: _ping(client) and gate.counts["connections"] > before)


def _ping(client):
    # Whether the client notices the reset before or after it sends differs by version.
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize(
    "message",
    [
        b"+OK\r\n",
        b"$-1\r\n",
        b"$3\r\na\r\n\r\n",
        b"*2\r\n$1\r\na\r\n*-1\r\n",
        b"%1\r\n+a\r\n:1\r\n",
    ],
)
def test_a_message_is_found_however_it_is_cut(message):
    assert message_end(message[:-1]) == -1
    splitter = Splitter()
    stream = message + b":1\r\n"
    found = [one for i in range(len(stream)) for one in splitter.feed(stream[i : i + 1])]
    assert found == [message, b":1\r\n"]
