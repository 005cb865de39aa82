"""What a user may give as "the Redis": URLs, settings and client objects, in one form.

An :class:`Address` says where the servers are and how to log in; nothing is connected here. A
client object is only read: its pools, sockets and settings stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from pytask.connection import clients, urls
from pytask.connection.wire import TCP, TLS, UNIX
from pytask.exceptions import ConfigurationError

HostPort = tuple[str, int]
Remap = Callable[[HostPort], HostPort]

_ACCEPTED = (
    "a URL (redis://, rediss://, unix://, redis+cluster://, redis+sentinel://, local://), a dict "
    "of redis-py arguments, a (host, port) pair, a list of pairs or dicts, or a client object "
    "(redis.Redis, redis.RedisCluster, rediscluster.RedisCluster)"
)


@dataclass(frozen=True)
class Address:
    """Where the servers are and how a connection to them is opened.

    Attributes:
        kind: ``single``, ``sentinel``, ``cluster`` or ``local``.
        hosts: The server, the sentinels or the start-up nodes; empty for a socket or ``local``.
        options: Arguments of every connection: credentials, TLS, database, socket path.
        connection_class: Class of every connection.
        service: Name of the service that the sentinels watch.
        sentinel_options: Arguments of the connections to the sentinels.
        sentinel_class: Class of the connections to the sentinels.
        directory: Where a ``local`` server keeps its data; None for memory only.
        remap: Turns an announced address into one that can be reached from here.
        make_client: Returns the client object that the user sees.
        client: The client object, when the user gave one.
    """

    kind: str
    make_client: Callable[[], Any]
    hosts: tuple[HostPort, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    connection_class: Any = TCP
    service: str = ""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sentinel_class: Any = TCP
    directory: str | None = None
    remap: Remap | None = None
    client: Any = field(default=None, repr=False)

    @property
    def description(self) -> str:
        """The address as a URL without credentials."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        database = f"/{self.options['db']}" if self.options.get("db") else ""
        if self.kind == "local":
            return f"local://{self.directory or ''}"
        if self.kind == "cluster":
            return f"redis+cluster://{hosts}"
        if self.kind == "sentinel":
            return f"redis+sentinel://{hosts}/{self.service}{database}"
        if "path" in self.options:
            return f"unix://{self.options['path']}" + (f"?db={database[1:]}" if database else "")
        return f"{'rediss' if _is_tls(self.connection_class) else 'redis'}://{hosts}{database}"


def read_address(redis_instance: Any, options: Mapping[str, Any]) -> Address:
    """Return the address that ``redis_instance`` stands for.

    Args:
        redis_instance: What the user gave.
        options: Further redis-py arguments for every form but a client object.

    Raises:
        ConfigurationError: It is none of the accepted forms, or contradicts itself.
    """
    options = dict(options)
    remap = options.pop("address_remap", None)
    try:
        if isinstance(redis_instance, str):
            return _from_url(redis_instance, options, remap)
        if isinstance(redis_instance, Mapping):
            return _from_settings({**redis_instance, **options}, remap)
        if _is_pair(redis_instance):
            host, port = redis_instance
            return _from_settings({"host": host, "port": port, **options}, remap)
        if isinstance(redis_instance, list | tuple):
            return _from_list(redis_instance, options, remap)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"this Redis address cannot be used: {error}") from error
    if options:
        names = ", ".join(sorted(options))
        raise ConfigurationError(f"a client object takes no further arguments, got: {names}")
    return replace(_from_client(redis_instance, remap), client=redis_instance)


def _from_url(url: str, options: dict[str, Any], remap: Remap | None) -> Address:
    parsed = urls.parse(url)
    settings = {**parsed.settings, **options}
    if parsed.kind == "local":
        return _local(parsed.directory, settings)
    if parsed.kind == "cluster":
        return _cluster(parsed.hosts, settings, remap)
    if parsed.kind == "sentinel":
        return _sentinel(parsed, settings, remap)
    return _from_settings(settings, remap)


def _from_list(items: Iterable[Any], options: dict[str, Any], remap: Remap | None) -> Address:
    hosts: list[HostPort] = []
    shared = dict(options)
    for item in items:
        if isinstance(item, Mapping):
            settings = dict(item)
            hosts.append((str(settings.pop("host", "localhost")), int(settings.pop("port", 6379))))
            shared = {**settings, **shared}
        elif _is_pair(item):
            hosts.append((item[0], int(item[1])))
        else:
            raise ConfigurationError(f"a list of servers holds pairs or dicts, not {item!r}")
    if not hosts:
        raise ConfigurationError("the list of servers is empty")
    if len(hosts) == 1:
        host, port = hosts[0]
        return _from_settings({"host": host, "port": port, **shared}, remap)
    return _cluster(tuple(hosts), shared, remap)


def _from_settings(settings: dict[str, Any], remap: Remap | None) -> Address:
    if "startup_nodes" in settings:
        nodes = settings.pop("startup_nodes")
        hosts = tuple(clients.host_port(node) for node in nodes)
        return _cluster(hosts, settings, remap)
    return _from_client(clients.make_client(settings), remap)


def _cluster(hosts: tuple[HostPort, ...], settings: dict[str, Any], remap: Remap | None) -> Address:
    if settings.pop("db", 0):
        raise ConfigurationError("a Redis Cluster has only database 0")
    if not hosts:
        raise ConfigurationError("a Redis Cluster needs at least one node")
    connection_class, options = clients.connection_of(settings)
    return Address(
        kind="cluster",
        make_client=lambda: clients.make_cluster_client(hosts, settings, remap),
        hosts=hosts,
        options=options,
        connection_class=connection_class,
        remap=remap,
    )


def _sentinel(parsed: urls.ParsedURL, settings: dict[str, Any], remap: Remap | None) -> Address:
    if not parsed.service:
        raise ConfigurationError(
            "a sentinel URL names the service: redis+sentinel://host:26379/NAME"
        )
    client = clients.make_sentinel_client(parsed.hosts, parsed.service, settings)
    return _from_client(client, remap)


def _local(directory: str | None, settings: dict[str, Any]) -> Address:
    def make_client() -> Any:
        raise ConfigurationError("an embedded server must be running before a client is made")

    return Address(
        kind="local",
        make_client=make_client,
        options=settings,
        connection_class=UNIX,
        directory=directory,
    )


def _from_client(client: Any, remap: Remap | None) -> Address:
    if clients.is_cluster_client(client):
        hosts, options, connection_class, own_remap = clients.read_cluster_client(client)
        return Address(
            kind="cluster",
            make_client=lambda: client,
            hosts=hosts,
            options=options,
            connection_class=connection_class,
            remap=remap or own_remap,
        )
    pool = getattr(client, "connection_pool", None)
    if not isinstance(pool, redis.ConnectionPool):
        raise ConfigurationError(f"cannot reach Redis through {type(client)!r}; give {_ACCEPTED}")
    if hasattr(pool, "sentinel_manager"):
        return _from_sentinel_pool(client, pool, remap)
    connection_class, options = clients.read_pool(pool)
    hosts = () if "path" in options else ((options.pop("host"), int(options.pop("port"))),)
    return Address(
        kind="single",
        make_client=lambda: client,
        hosts=hosts,
        options=options,
        connection_class=connection_class,
    )


def _from_sentinel_pool(client: Any, pool: Any, remap: Remap | None) -> Address:
    if not pool.is_master:
        raise ConfigurationError("a replica is read only; use master_for() of the Sentinel object")
    connection_class, options = clients.read_pool(pool)
    options.pop("host", None)
    options.pop("port", None)
    hosts = []
    sentinel_class: Any = TCP
    sentinel_options: dict[str, Any] = {}
    for sentinel in pool.sentinel_manager.sentinels:
        sentinel_class, sentinel_options = clients.read_pool(sentinel.connection_pool)
        hosts.append((sentinel_options.pop("host"), int(sentinel_options.pop("port"))))
    return Address(
        kind="sentinel",
        make_client=lambda: client,
        hosts=tuple(hosts),
        options=options,
        connection_class=TLS if _is_tls(connection_class) else TCP,
        service=pool.service_name,
        sentinel_options=sentinel_options,
        sentinel_class=sentinel_class,
        remap=remap,
    )


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | str)
        and str(value[1]).isdigit()
    )


def _is_tls(connection_class: Any) -> bool:
    return isinstance(connection_class, type) and issubclass(connection_class, TLS)
