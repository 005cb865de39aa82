"""TLS against a real server: who is trusted, who is not, and what is said about it."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pytask import PyTaskHelpers
from pytask.exceptions import RedisUnavailable
from tests.support.ports import free_port, release_port
from tests.support.servers import Server, find_binary
from tests.support.topologies import missing_server
from tests.support.waiting import PATIENCE, wait_until

from .programs import WORKER, run_command


@dataclass(frozen=True)
class Certificates:
    """Files of a certificate authority and what it signed."""

    directory: Path

    @property
    def authority(self) -> Path:
        return self.directory / "ca.pem"

    def sign(self, name: str, alternative: str) -> tuple[Path, Path]:
        """Return certificate and key for a name, such as ``IP:127.0.0.1``."""
        key, request = self.directory / f"{name}.key", self.directory / f"{name}.csr"
        certificate, extension = self.directory / f"{name}.pem", self.directory / f"{name}.ext"
        extension.write_text(f"subjectAltName={alternative}\n")
        _openssl("req", "-new", *_NEW_KEY, "-keyout", key, "-subj", f"/CN={name}", "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-days", "2", "-CAcreateserial",
            "-CA", self.authority, "-CAkey", _key_of(self.authority),
            "-extfile", extension, "-out", certificate,
        )  # fmt: skip
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _key_of(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


def _openssl(*words: Any) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)


def _authority(directory: Path) -> Certificates:
    directory.mkdir()
    made = Certificates(directory)
    _openssl(
        "req", "-x509", *_NEW_KEY, "-keyout", _key_of(made.authority), "-days", "2",
        "-subj", f"/CN={directory.name}", "-out", made.authority,
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        missing_server("openssl is not installed (apt-get install openssl)")
    return _authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, ours: Certificates) -> Certificates:
    return _authority(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture
def serve(disposable_server: Any, ours: Certificates) -> Any:
    """Start a server with a TLS port: ``serve("IP:127.0.0.1", tls_auth_clients="yes")``."""
    if find_binary("redis") is None:
        missing_server("redis-server is not installed (apt-get install redis-server)")
    ports: list[int] = []

    def start(alternative: str, **options: Any) -> tuple[Server, int]:
        certificate, key = ours.sign("server", alternative)
        ports.append(free_port())
        # Debian's, because the Valkey of the wheel is built without TLS.
        server = disposable_server(
            "redis",
            tls_port=ports[-1],
            tls_cert_file=certificate,
            tls_key_file=key,
            tls_ca_cert_file=ours.authority,
            **{"tls_auth_clients": "no", **options},
        )
        return server, ports[-1]

    yield start
    for port in ports:
        release_port(port)


def url_of(port: int, host: str = "127.0.0.1", **options: Any) -> str:
    return f"rediss://{host}:{port}/0?{urlencode(options)}"


def refused(url: str, message: str) -> None:
    """Check that helpers and the command line refuse a server, and say why in one line."""
    helpers = PyTaskHelpers(url, redis_patience=0.2)
    with pytest.raises(RedisUnavailable, match=message):
        helpers.start_task("security/add")
    helpers.connector.close()
    done = run_command("start", "security/add", "--redis", url, "--redis-patience", "0.2")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done
    assert "CERTIFICATE" in done.stderr.upper()


def test_worker_client_and_command_line_use_tls(serve, ours, worker_process):
    _, port = serve("IP:127.0.0.1,DNS:localhost")
    url = url_of(port, ssl_ca_certs=ours.authority)
    worker = worker_process(WORKER, [url, "cleanup"])
    worker.wait_for_line("takes tasks from")
    helpers = PyTaskHelpers(url, redis_patience=5)
    future = helpers.submit("security/add", {"a": 1, "b": 2}, watch=True)
    future.wait(PATIENCE)
    assert future.result() == 3
    done = run_command("start", "security/add", "a:=2", "--wait", "15", "--redis", url)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2"), done
    resting = helpers.start_task("security/rest")
    worker.wait_for_event("resting")
    assert helpers.stop_task(resting)
    wait_until(lambda: helpers.get_task(resting, "state") == "STOPPED", message="a stop arrives")
    # The client of the tasks goes the same way.
    assert helpers.redis.ping()
    assert worker.stop() == 0
    helpers.connector.close()


def test_a_certificate_of_another_authority_is_refused(serve, theirs):
    _, port = serve("IP:127.0.0.1")
    refused(url_of(port, ssl_ca_certs=theirs.authority), r"(?i)certificate verify failed")


def test_a_certificate_no_authority_of_the_system_signed_is_refused(serve):
    _, port = serve("IP:127.0.0.1")
    refused(url_of(port), r"(?i)certificate verify failed")


def test_a_certificate_for_another_host_is_refused(serve, ours):
    _, port = serve("DNS:elsewhere.example")
    refused(url_of(port, ssl_ca_certs=ours.authority), r"(?i)certificate verify failed")


def test_a_worker_waits_for_a_server_it_can_trust(serve, theirs, worker_process):
    _, port = serve("IP:127.0.0.1")
    worker = worker_process(WORKER, [url_of(port, ssl_ca_certs=theirs.authority)])
    worker.wait_for_line(r"(?i)certificate verify failed", timeout=PATIENCE)


def test_a_server_that_wants_to_know_its_clients_knows_them(serve, ours):
    _, port = serve("IP:127.0.0.1", tls_auth_clients="yes")
    certificate, key = ours.sign("client", "DNS:client")
    options = {"ssl_ca_certs": ours.authority, "ssl_certfile": certificate, "ssl_keyfile": key}
    helpers = PyTaskHelpers(url_of(port, **options), redis_patience=2)
    task_id = helpers.start_task("security/add")
    assert helpers.get_new_task_ids() == [task_id]
    helpers.connector.close()
    done = run_command("list", "--redis", url_of(port, **options))
    assert task_id in done.stdout


def test_a_client_without_a_certificate_is_turned_away(serve, ours, theirs):
    _, port = serve("IP:127.0.0.1", tls_auth_clients="yes")
    certificate, key = theirs.sign("client", "DNS:client")
    stranger = {"ssl_certfile": certificate, "ssl_keyfile": key}
    for options in ({}, stranger):
        url = url_of(port, ssl_ca_certs=ours.authority, **options)
        helpers = PyTaskHelpers(url, redis_patience=0.2)
        with pytest.raises(RedisUnavailable):
            helpers.start_task("security/add")
        helpers.connector.close()


def test_speaking_plainly_to_a_tls_port_fails_at_once_instead_of_hanging(serve):
    _, port = serve("IP:127.0.0.1")
    helpers = PyTaskHelpers(f"redis://127.0.0.1:{port}/0", redis_patience=0.2)
    with pytest.raises(RedisUnavailable):
        helpers.start_task("security/add")
    helpers.connector.close()


def test_a_dict_and_a_client_object_say_the_same(serve, ours):
    import redis

    _, port = serve("IP:127.0.0.1")
    options = {
        "host": "127.0.0.1", "port": port, "ssl": True, "ssl_ca_certs": str(ours.authority),
    }  # fmt: skip
    for address in (options, redis.Redis(**options)):
        helpers = PyTaskHelpers(address, redis_patience=2)
        assert helpers.start_task("security/add", task_id="t") == "t"
        helpers.connector.close()
