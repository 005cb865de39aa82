"""The kinds of Redis every store and worker test runs on."""

import os
from dataclasses import dataclass
from typing import Any

import pytest

from .clients import HAS_REDIS_PY_CLUSTER
from .cluster import Cluster
from .servers import Server

#: With redis-py-cluster installed (an environment of its own) its client stands for a cluster.
TOPOLOGIES = ("valkey", "rediscluster") if HAS_REDIS_PY_CLUSTER else ("valkey", "redis", "cluster")


@dataclass(frozen=True)
class Topology:
    """What a test is told about the Redis it runs on.

    Attributes:
        name: ``valkey``, ``redis``, ``cluster`` or ``rediscluster``.
        deployment: The running server or cluster.
        address: What to hand to ``PyTask`` or ``connect``.
        raw: A client that decodes replies, for assertions.
    """

    name: str
    deployment: Server | Cluster
    address: Any
    raw: Any

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several masters."""
        return isinstance(self.deployment, Cluster)

    def masters(self) -> list[Any]:
        """Make one decoding client for each server that holds keys."""
        if isinstance(self.deployment, Cluster):
            return [node.client() for node in self.deployment.masters()]
        return [self.deployment.client()]


def of_server(name: str, server: Server) -> Topology:
    """Describe a single server."""
    return Topology(name, server, server.url, server.client())


def of_cluster(name: str, cluster: Cluster) -> Topology:
    """Describe a cluster; for ``rediscluster`` the address is a client object."""
    raw = cluster.client()
    address = raw if name == "rediscluster" else cluster.addresses
    return Topology(name, cluster, address, raw)


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the ``topology`` fixture once for each topology it accepts."""
    if "topology" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("topologies")
    names = [name for name in TOPOLOGIES if marker is None or name in marker.args]
    on_cluster = HAS_REDIS_PY_CLUSTER and marker and "cluster" in marker.args
    # What addresses a cluster by URL cannot be done with that client.
    if on_cluster and not marker.kwargs.get("by_url"):
        names.append("rediscluster")
    params = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in names]
    metafunc.parametrize("topology", params, indirect=True, scope="session")


def missing_server(message: str) -> None:
    """Skip on a developer's machine; fail in CI, where a skip would hide a broken set-up."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
