"""The servers of a chaos run: one Redis, one watched by sentinels, or a cluster of six nodes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis

from tests.support.cluster import Cluster
from tests.support.sentinels import Sentinels
from tests.support.servers import Server

from .zones import HOST, Zone

#: Hash slots the tasks are spread over on a cluster: enough that every master has some.
PARTITIONS = 8

_OPTIONS: dict[str, Any] = {
    "appendonly": "yes",
    # A script that runs longer answers BUSY to everybody else.
    "lua_time_limit": 100,
    "maxmemory_policy": "noeviction",
    # Forking for a rewrite would stop a small machine at a time of its own choice.
    "auto_aof_rewrite_percentage": 0,
}


class Target:
    """What all topologies have in common.

    Attributes:
        nodes: The servers that hold data.
        seeds: Host and port of what clients are told: servers or sentinels.
        may_lose: Whether a failover may lose acknowledged writes.
    """

    name = ""
    is_cluster = False
    may_lose = False
    partitions = 1

    def __init__(self) -> None:
        self.nodes: list[Server] = []
        self.seeds: list[Server] = []

    @property
    def servers(self) -> list[Server]:
        """All processes that clients connect to."""
        return [*self.nodes, *(one for one in self.seeds if one not in self.nodes)]

    def zone(self, host: str = HOST) -> Zone:
        return Zone([server.address for server in self.servers], host)

    def place(self, zone: Zone) -> dict[str, Any]:
        """Say how a process in a zone reaches the servers."""
        through = {server.port: port for server, port in zip(self.servers, zone.ports, strict=True)}
        seeds = ",".join(f"{zone.host}:{through[server.port]}" for server in self.seeds)
        routes = [[server.host, server.port, through[server.port]] for server in self.servers]
        return {"address": self.url(seeds), "routes": routes, "host": zone.host}

    def url(self, seeds: str) -> str:
        raise NotImplementedError

    @property
    def direct(self) -> str:
        """The address without any proxy."""
        return self.url(",".join(f"{server.host}:{server.port}" for server in self.seeds))

    def masters(self) -> list[Server]:
        return [node for node in self.nodes if role_of(node) == "master"]

    def is_healthy(self) -> bool:
        """Whether all servers answer and agree."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class SingleTarget(Target):
    """One server with an append-only file."""

    name = "single"

    def __init__(self, kind: str, appendfsync: str = "everysec") -> None:
        super().__init__()
        self.nodes = self.seeds = [Server(kind, appendfsync=appendfsync, **_OPTIONS).start()]

    def url(self, seeds: str) -> str:
        return f"redis://{seeds}/0"

    def is_healthy(self) -> bool:
        return self.nodes[0].answers()

    def close(self) -> None:
        self.nodes[0].close()


class SentinelTarget(Target):
    """A master with two replicas, and three sentinels."""

    name = "sentinel"
    may_lose = True

    def __init__(self, kind: str, appendfsync: str = "everysec") -> None:
        super().__init__()
        # A master that was replaced goes on until a sentinel tells it so, some ten seconds later.
        # Without a replica it refuses writes instead of accepting them in vain. Its successor has
        # the other replica at once, and needs not wait for the old master to come back.
        bound = {"min_replicas_to_write": 1, "min_replicas_max_lag": 2}
        self.group = Sentinels(
            2, kind=kind, down_after=1000, **bound, appendfsync=appendfsync, **_OPTIONS
        ).start()
        self.nodes, self.seeds = self.group.nodes, list(self.group.sentinels)

    def url(self, seeds: str) -> str:
        return f"redis+sentinel://{seeds}/{self.group.service}/0"

    def is_healthy(self) -> bool:
        with suppress(redis.RedisError, StopIteration):
            return (
                all(node.answers() for node in self.nodes)
                and role_of(self.group.master) == "master"
                and sum(role_of(node) == "master" for node in self.nodes) == 1
                and self._has_replicas()
            )
        return False

    def _has_replicas(self) -> bool:
        replication = self.group.master.info("replication")
        states = [value for name, value in replication.items() if name.startswith("slave")]
        return sum("state=online" in one for one in states) == len(self.nodes) - 1

    def close(self) -> None:
        self.group.close()


class ClusterTarget(Target):
    """Three masters with a replica each."""

    name = "cluster"
    is_cluster = True
    may_lose = True
    partitions = PARTITIONS

    def __init__(self, kind: str, appendfsync: str = "everysec") -> None:
        super().__init__()
        self.cluster = Cluster(
            3, 1, kind=kind, node_timeout=1000, appendfsync=appendfsync, **_OPTIONS
        ).start()
        self.nodes = self.seeds = self.cluster.nodes

    def url(self, seeds: str) -> str:
        return f"redis+cluster://{seeds}"

    def is_healthy(self) -> bool:
        with suppress(redis.RedisError, StopIteration, KeyError):
            return all(node.answers() for node in self.nodes) and self.cluster._agrees()
        return False

    def close(self) -> None:
        self.cluster.close()


TARGETS: dict[str, type[Any]] = {
    "single": SingleTarget,
    "sentinel": SentinelTarget,
    "cluster": ClusterTarget,
}


def role_of(node: Server) -> str:
    """Return ``master``, ``slave`` or, if it does not answer, nothing."""
    try:
        return str(node.command("ROLE", timeout=1.0)[0])
    except redis.RedisError:
        return ""
