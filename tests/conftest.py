"""Fixtures: real servers for a session, one namespace for a test.

The first lines patch the standard library. Nothing that keeps a reference to a
socket, lock or ssl class may be imported before them.
"""

import sys

from gevent import monkey

if not monkey.is_module_patched("socket"):
    assert "ssl" not in sys.modules, "a pytest plugin imported ssl before gevent could patch it"
    monkey.patch_all()

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs us in the background has SIGINT ignored, and our child processes would
    # inherit that; some tests interrupt them.
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import topologies
from tests.support.clients import HAS_REDIS_PY_CLUSTER
from tests.support.cluster import Cluster
from tests.support.namespace import Namespace
from tests.support.proxy import Proxy
from tests.support.servers import Server, find_binary
from tests.support.topologies import Topology
from tests.support.waiting import wait_until as _wait_until
from tests.support.worker import WorkerProcess

pytest_plugins = ["tests.support.deadline", "tests.support.sharing"]

_processes = pytest.StashKey[list[WorkerProcess]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread tests over the topologies."""
    topologies.parametrize(metafunc)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests of the other client library to the other environment."""
    if not HAS_REDIS_PY_CLUSTER:
        reason = pytest.mark.skip(reason="needs redis-py-cluster; run `make test-rpc`")
        for item in items:
            if item.get_closest_marker("rediscluster"):
                item.add_marker(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what worker processes wrote when their test failed."""
    report = yield
    if report.failed:
        for worker in item.stash.get(_processes, []):
            report.sections.append((f"output of process {worker.pid}", worker.output))
    return report


# Servers that live as long as the session; tests must not break them.


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    """The Valkey server of the ``embedded`` extra."""
    with Server("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def debian_redis_server() -> Iterator[Server]:
    """Debian's redis-server, the oldest server the project supports."""
    if find_binary("redis") is None:
        topologies.missing_server("redis-server is not installed (apt-get install redis-server)")
    with Server("redis") as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """Three masters with a replica each."""
    with Cluster(masters=3, replicas=1, node_timeout=2000) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def topology(request: pytest.FixtureRequest) -> Topology:
    """Where the test runs: ``@pytest.mark.topologies("valkey", "cluster")`` limits it."""
    if request.param in ("cluster", "rediscluster"):
        return topologies.of_cluster(request.param, request.getfixturevalue("redis_cluster"))
    name = {"valkey": "valkey_server", "redis": "debian_redis_server"}[request.param]
    return topologies.of_server(request.param, request.getfixturevalue(name))


@pytest.fixture
def address(topology: Topology) -> Any:
    """What to pass to ``PyTask`` or ``connect``: a URL, a node list or a client object."""
    return topology.address


@pytest.fixture
def raw(topology: Topology) -> Any:
    """A plain client with decoded replies, for assertions."""
    return topology.raw


@pytest.fixture
def namespace(topology: Topology) -> Iterator[Namespace]:
    """Key names of this test alone; ``PyTask(address, **namespace.options)``."""
    names = Namespace.fresh()
    yield names
    names.remove(topology.masters())


@pytest.fixture
def dump(topology: Topology, namespace: Namespace) -> Callable[[], dict[str, Any]]:
    """Call it for every key of the namespace and its value."""
    return lambda: namespace.dump(topology.masters())


@pytest.fixture
def connector(address: Any) -> Iterator[Any]:
    """The project's own connection to the topology."""
    from pytask.connection import connect

    connector = connect(address)
    yield connector
    connector.close()


@pytest.fixture
def keys(connector: Any, namespace: Namespace) -> Any:
    """The key names of this test, for this topology."""
    from pytask.keys import Keys

    partitions = namespace.options["partitions"] if connector.is_cluster else 1
    return Keys(**namespace.names, partitions=partitions, tagged=connector.is_cluster)


@pytest.fixture
def settings(namespace: Namespace) -> Any:
    """Default settings with the names of this test."""
    from pytask.settings import Settings

    return Settings.of(namespace.options)


@pytest.fixture
def store(connector: Any, keys: Any, settings: Any) -> Iterator[Any]:
    """A ``Store`` on this topology and namespace."""
    from pytask.store import Store

    link = connector.link()
    yield Store(link, keys, settings)
    link.close()


# What a test may break.


@pytest.fixture
def disposable_server() -> Iterator[Callable[..., Server]]:
    """Start servers of the test's own: ``disposable_server("redis", appendonly="yes")``."""
    yield from _closing(lambda kind="valkey", **options: Server(kind, **options).start())


@pytest.fixture
def disposable_cluster() -> Iterator[Callable[..., Cluster]]:
    """Start clusters of the test's own: ``disposable_cluster(masters=3, replicas=1)``."""
    yield from _closing(lambda **options: Cluster(**options).start())


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """Put proxies before servers: ``proxy(server)`` or ``proxy((host, port))``."""
    yield from _closing(lambda target: Proxy(getattr(target, "address", target)))


@pytest.fixture
def worker_process(request: pytest.FixtureRequest) -> Iterator[Callable[..., WorkerProcess]]:
    """Start programs: ``worker_process(script, arguments=[...])``; see ``WorkerProcess``."""
    workers = request.node.stash.setdefault(_processes, [])

    def start(script: str, arguments: Any = (), **env: str) -> WorkerProcess:
        workers.append(WorkerProcess(script, arguments, env))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """``wait_until(condition, timeout=10, message="")``: poll, then fail with the message."""
    return _wait_until


def _closing(make: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield a factory whose products are closed in reverse order."""
    made: list[Any] = []

    def start(*args: Any, **options: Any) -> Any:
        made.append(make(*args, **options))
        return made[-1]

    yield start
    for one in reversed(made):
        one.close()
