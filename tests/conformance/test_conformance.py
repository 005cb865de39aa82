"""The conformance suite, on what pytask brings along and on a back-end that is not ours."""

from collections.abc import Iterator
from typing import Any

import pytest

from pytask import backends
from pytask.connection import connect
from pytask.store import Store
from pytask.testing.conformance import Conformance
from pytask.testing.conformance.starting import Starting
from tests.support import plain
from tests.support.topologies import Topology


@pytest.mark.topologies("redis", "cluster", by_url=True)
class TestRedis(Conformance):
    """``redis://`` and ``redis+cluster://``."""

    @pytest.fixture
    def backend_url(self, topology: Topology) -> str:
        if not topology.is_cluster:
            return str(topology.address)
        hosts = ",".join(f"{host}:{port}" for host, port in topology.address)
        return f"redis+cluster://{hosts}"


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """Keep one embedded server for all tests; each would start one of its own."""
    backend = connect("local://")
    backend.link()
    yield "local://"
    backend.close()


class TestEmbedded(Conformance):
    """``local://``."""

    @pytest.fixture
    def backend_url(self, embedded: str) -> str:
        return embedded


class OwnStore(plain.PlainBackend):
    """Does the verbs its own way, which is ours again."""

    def make_store(self, link: Any, keys: Any, settings: Any) -> Store:
        class Verbs(Store):
            pass

        return Verbs(link, keys, settings)


backends.register("plain+verbs", lambda url: OwnStore(*plain.connect(url).address))


class TestOwnStore(Starting):
    """What is about keys and scripts is left out."""

    @pytest.fixture
    def backend_url(self, valkey_server: Any) -> str:
        host, port = valkey_server.address
        return f"plain+verbs://{host}:{port}"


class TestThirdParty(Conformance):
    """A scheme with sockets of its own."""

    @pytest.fixture
    def backend_url(self, valkey_server: Any) -> str:
        host, port = valkey_server.address
        return f"plain://{host}:{port}"
