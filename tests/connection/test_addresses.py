"""Every way to say where Redis is ends in a link of our own to that place."""

import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.sentinel import Sentinel

from pytask.connection import Patience, connect, retrying
from pytask.exceptions import ConfigurationError, RedisRejected
from tests.support.cluster import Cluster
from tests.support.sentinels import Sentinels
from tests.support.servers import Server


def settings_of(client: Any) -> dict[str, Any]:
    pool = client.connection_pool
    return {"class": pool.connection_class, **pool.connection_kwargs}


def assert_reaches(server: Server, given: Any, database: int = 0, **options: Any) -> None:
    """Write through a link to ``given`` and read it back with a plain client."""
    connector = connect(given, **options)
    link = connector.link()
    try:
        assert link.execute("SET", "where", "here") == b"OK"
        assert link.execute("GET", "where") == b"here"
        assert server.command("INFO", "keyspace") is not None
        plain = server.client(db=database)
        assert plain.get("where") == "here"
        assert "secret" not in connector.description
        assert "secret" not in repr(connector)
        plain.delete("where")
    finally:
        connector.close()


def test_a_url_names_host_port_and_database(valkey_server: Server) -> None:
    assert_reaches(valkey_server, f"redis://127.0.0.1:{valkey_server.port}/3", database=3)


def test_a_url_names_the_database_as_an_option(valkey_server: Server) -> None:
    assert_reaches(valkey_server, f"redis://127.0.0.1:{valkey_server.port}?db=2", database=2)


def test_a_dict_of_client_arguments_is_accepted(valkey_server: Server) -> None:
    assert_reaches(valkey_server, {"host": "127.0.0.1", "port": valkey_server.port})


def test_a_pair_of_host_and_port_is_accepted(valkey_server: Server) -> None:
    assert_reaches(valkey_server, ("127.0.0.1", valkey_server.port))


def test_a_list_of_one_server_is_a_single_server(valkey_server: Server) -> None:
    assert_reaches(valkey_server, [("127.0.0.1", valkey_server.port)])
    assert_reaches(valkey_server, [{"host": "127.0.0.1", "port": valkey_server.port}])


@pytest.mark.parametrize("decode", [True, False])
def test_a_client_is_read_but_neither_used_nor_changed(valkey_server: Server, decode: bool) -> None:
    client = redis.Redis(port=valkey_server.port, decode_responses=decode, socket_timeout=0.5)
    before = settings_of(client)
    assert_reaches(valkey_server, client)
    assert settings_of(client) == before
    assert client.connection_pool._created_connections == 0
    connector = connect(client)
    assert connector.user_client is client
    connector.close()
    assert client.ping()


def test_a_client_made_from_an_address_returns_text(valkey_server: Server) -> None:
    connector = connect(valkey_server.url)
    assert connector.user_client.echo("text") == "text"
    assert connector.user_client is connector.user_client
    connector.close()
    connector = connect({"port": valkey_server.port, "decode_responses": False})
    assert connector.user_client.echo("text") == b"text"
    connector.close()


def test_a_unix_socket_is_reached_in_every_form(disposable_server: Any) -> None:
    server = disposable_server("valkey", unixsocket=True)
    for given in (
        f"unix://{server.unixsocket}?db=1",
        {"unix_socket_path": str(server.unixsocket), "db": 1},
        redis.Redis(unix_socket_path=str(server.unixsocket), db=1),
    ):
        assert_reaches(server, given, database=1)


def test_passwords_are_taken_from_every_form(disposable_server: Any) -> None:
    server = disposable_server("valkey", requirepass="secret word")
    port = server.port
    for given in (
        f"redis://:secret%20word@127.0.0.1:{port}",
        f"redis://default:secret%20word@127.0.0.1:{port}",
        {"port": port, "password": "secret word"},
        redis.Redis(port=port, password="secret word", decode_responses=True),
    ):
        assert_reaches(server, given)
    assert_reaches(server, ("127.0.0.1", port), password="secret word")


def test_wrong_credentials_are_rejected_for_good(disposable_server: Any) -> None:
    server = disposable_server("valkey", requirepass="secret")
    for given in (f"redis://:wrong@127.0.0.1:{server.port}", server.address):
        link = connect(given).link()
        with pytest.raises(RedisRejected, match=r"password|[Aa]uth"):
            link.execute("GET", "key")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority and a certificate for 127.0.0.1 and localhost."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test CA")
    openssl(*new, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost")
    (directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "own.csr", "-out", "own.crt", *signing)
    return directory


@pytest.fixture(scope="module")
def tls_port(certificates: Path) -> Any:
    from tests.support.ports import free_port, release_port

    port = free_port()
    options = {
        "tls_port": port,
        "tls_cert_file": certificates / "own.crt",
        "tls_key_file": certificates / "own.key",
        "tls_ca_cert_file": certificates / "ca.crt",
        "tls_auth_clients": "no",
    }
    # The wheel's Valkey is built without TLS, Debian's Redis with it.
    with Server("redis", **options) as server:
        server.tls_port = port
        yield server
    release_port(port)


def test_tls_is_verified_against_the_given_authority(tls_port: Any, certificates: Path) -> None:
    authority = str(certificates / "ca.crt")
    port = tls_port.tls_port
    for given in (
        f"rediss://localhost:{port}?ssl_ca_certs={authority}",
        {"host": "localhost", "port": port, "ssl": True, "ssl_ca_certs": authority},
        redis.Redis(host="localhost", port=port, ssl=True, ssl_ca_certs=authority),
    ):
        assert_reaches(tls_port, given)
    link = connect(f"rediss://localhost:{port}").link()
    with pytest.raises(ConnectionError, match="certificate"):
        link.execute("PING")


def test_an_idle_tls_connection_is_used_again(tls_port: Any, certificates: Path) -> None:
    link = connect(f"rediss://localhost:{tls_port.tls_port}?ssl_ca_certs={certificates}/ca.crt")
    link = link.link()
    assert len({link.execute("CLIENT", "ID") for _ in range(5)}) == 1


def test_sentinels_name_the_master_before_and_after_a_failover() -> None:
    with Sentinels(replicas=1, down_after=500) as group:
        hosts = ",".join(f"{host}:{port}" for host, port in group.addresses)
        client = Sentinel(group.addresses).master_for(group.service, decode_responses=True)
        connectors = [connect(f"redis+sentinel://{hosts}/{group.service}/0"), connect(client)]
        links = [connector.link() for connector in connectors]
        for link in links:
            assert link.execute("SET", "key", "value") == b"OK"
            assert link.execute("ROLE")[0] == b"master"
        assert connectors[0].user_client.get("key") == "value"
        assert connectors[1].user_client is client
        old = group.master
        old.command("WAIT", "1", "2000")
        old.kill()
        new = group.wait_promoted(old)
        for link in links:
            assert retrying(partial(link.execute, "SET", "key", "again"), Patience(10.0)) == b"OK"
        assert new.client().get("key") == "again"
        for connector in connectors:
            connector.close()


def test_a_replica_client_of_sentinels_is_refused() -> None:
    client = Sentinel([("127.0.0.1", 1)]).slave_for("mymaster")
    with pytest.raises(ConfigurationError, match="replica"):
        connect(client)


def test_several_servers_are_a_cluster(redis_cluster: Cluster) -> None:
    nodes = redis_cluster.addresses
    text = ",".join(f"{host}:{port}" for host, port in nodes)
    for given in (
        nodes,
        [{"host": host, "port": port} for host, port in nodes],
        {"startup_nodes": [{"host": host, "port": port} for host, port in nodes]},
        f"redis+cluster://{text}",
        f"redis+cluster://{nodes[0][0]}:{nodes[0][1]}",
        redis_cluster.client(),
        redis_cluster.client(decode_responses=False),
    ):
        connector = connect(given)
        link = connector.link()
        assert connector.is_cluster
        for number in range(20):
            assert link.execute("SET", f"key-{number}", number) == b"OK"
            assert link.execute("GET", f"key-{number}") == b"%d" % number
        connector.close()


def test_a_cluster_client_made_from_an_address_returns_text(redis_cluster: Cluster) -> None:
    connector = connect(redis_cluster.addresses)
    connector.user_client.set("text", "value")
    assert connector.user_client.get("text") == "value"
    connector.close()


@pytest.mark.parametrize(
    "given",
    [
        "http://localhost",
        "localhost:6379",
        "unix://",
        "redis+sentinel://localhost:26379",
        "redis://localhost:port",
        "redis://localhost/name",
        "redis+cluster://localhost:1,localhost:2/4",
        [],
        [("localhost", 1), 5],
        {"hots": "localhost"},
        42,
        None,
        object(),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_a_reason(given: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        connect(given)
    assert len(str(raised.value)) > 15


def test_a_client_object_takes_no_further_arguments() -> None:
    with pytest.raises(ConfigurationError, match="password"):
        connect(redis.Redis(), password="secret")


@pytest.mark.parametrize(
    ("given", "description"),
    [
        ("redis://user:secret@example.com/4", "redis://example.com:6379/4"),
        ("rediss://:secret@example.com:7000", "rediss://example.com:7000"),
        ("redis://[::1]:7000", "redis://::1:7000"),
        ("unix://:secret@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("redis+cluster://:secret@a:1,b:2", "redis+cluster://a:1,b:2"),
        ("redis+sentinel://:secret@a:1,b/main/3", "redis+sentinel://a:1,b:26379/main/3"),
        ([("a", 1), ("b", 2)], "redis+cluster://a:1,b:2"),
    ],
)
def test_the_description_has_no_password(given: Any, description: str) -> None:
    assert connect(given).description == description
