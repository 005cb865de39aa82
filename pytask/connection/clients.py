"""Reading the user's client objects, and making one when only an address was given.

Reading touches public attributes of clients and pools and copies what a connection needs to log
in. Nothing of the user's is kept, changed or connected.
"""

from __future__ import annotations

import inspect
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import redis

from pytask.connection.wire import TCP, TLS, UNIX
from pytask.exceptions import ConfigurationError

HostPort = tuple[str, int]

# What a connection needs to reach a server and log in. Time-outs, retries, decoding, caches and
# the objects that redis-py shares between the connections of one pool are deliberately absent.
_LOGIN = frozenset(
    (
        "client_name",
        "credential_provider",
        "db",
        "host",
        "password",
        "path",
        "port",
        "redis_connect_func",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_read_size",
        "socket_type",
        "username",
    )
)

# What a connection class of the user's own must not get either, although it is not known here.
_OURS = frozenset(
    (
        "cache",
        "cache_config",
        "command_packer",
        "connection_pool",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "event_dispatcher",
        "health_check_interval",
        "himport_registry",
        "legacy_responses",
        "parser_class",
        "protocol",
        "readonly",
        "retry",
        "retry_on_error",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_timeout",
    )
)


def read_pool(pool: Any) -> tuple[Any, dict[str, Any]]:
    """Return the connection class of a pool and the arguments that our own connections need."""
    connection_class = _plain_class(pool.connection_class)
    options = _login_options(connection_class, pool.connection_kwargs)
    if "path" not in options:
        options.setdefault("host", "localhost")
        options.setdefault("port", 6379)
    return connection_class, _with_keepalive(connection_class, options)


def connection_of(settings: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return class and arguments of a connection for redis-py arguments without an address."""
    connection_class = TLS if settings.get("ssl") else TCP
    options = _login_options(connection_class, settings)
    for name in ("host", "port", "db"):
        options.pop(name, None)
    return connection_class, _with_keepalive(connection_class, options)


def is_cluster_client(client: Any) -> bool:
    """Return whether ``client`` is a cluster client of redis-py or redis-py-cluster."""
    return isinstance(client, _cluster_classes())


def read_cluster_client(
    client: Any,
) -> tuple[tuple[HostPort, ...], dict[str, Any], Any, Any]:
    """Return nodes, connection arguments, connection class and address mapping of a client."""
    manager = getattr(client, "nodes_manager", None)
    if manager is not None:
        kwargs = dict(manager.connection_kwargs)
        # redis-py puts its own greeting there; the user's one is kept beside it.
        kwargs["redis_connect_func"] = getattr(client, "user_on_connect_func", None)
        is_tls = bool(kwargs.get("ssl")) or _is_tls(kwargs.get("connection_class"))
        nodes = [*manager.startup_nodes.values(), *client.get_nodes()]
        hosts = tuple(dict.fromkeys(host_port(node) for node in nodes))
        remap = getattr(manager, "address_remap", None)
    else:
        pool = client.connection_pool
        kwargs = dict(pool.connection_kwargs)
        is_tls = _is_tls(pool.connection_class)
        known = [*(pool.nodes.startup_nodes or ()), *pool.nodes.nodes.values()]
        hosts = tuple(dict.fromkeys(host_port(node) for node in known))
        remap = _remap_of(pool.nodes)
    connection_class, options = connection_of({**kwargs, "ssl": is_tls})
    return hosts, options, connection_class, remap


def host_port(node: Any) -> HostPort:
    """Return host and port of a start-up node in any of the usual forms."""
    if isinstance(node, Mapping):
        return str(node["host"]), int(node["port"])
    if isinstance(node, list | tuple):
        return str(node[0]), int(node[1])
    return str(node.host), int(node.port)


def make_client(settings: Mapping[str, Any]) -> Any:
    """Return a client of a single server; it is not connected yet.

    Raises:
        ConfigurationError: The installed redis-py does not know one of the arguments.
    """
    known = inspect.signature(redis.Redis.__init__).parameters
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ConfigurationError(
            f"redis-py {redis.__version__} knows no argument {', '.join(map(repr, unknown))}"
        )
    return redis.Redis(**polite(settings))


def polite(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for a client that tasks see: text replies, nothing sent twice.

    Both can be changed by naming ``decode_responses`` or ``retry`` in the settings.
    """
    settings = dict(settings)
    settings.setdefault("decode_responses", True)
    if not {"retry", "retry_on_error", "retry_on_timeout"} & set(settings):
        try:
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            return settings
        settings["retry"] = Retry(NoBackoff(), 0)
    return settings


def make_cluster_client(
    hosts: tuple[HostPort, ...], settings: Mapping[str, Any], remap: Any = None
) -> Any:
    """Return a connected cluster client for the user's tasks.

    Raises:
        ConfigurationError: Neither redis-py 4.1 or newer nor redis-py-cluster is installed.
    """
    settings = {"decode_responses": True, **settings}
    if "redis.cluster" in sys.modules or _has_own_cluster():
        from redis.cluster import ClusterNode, RedisCluster

        make_node: Any = ClusterNode
        nodes = [make_node(host, port) for host, port in hosts]
        extra = {"address_remap": remap} if remap is not None else {}
        return RedisCluster(startup_nodes=nodes, **extra, **settings)
    try:
        import rediscluster
    except ImportError as error:
        raise ConfigurationError(
            f"redis-py {redis.__version__} has no cluster client: install redis 4.1 or newer, "
            "or pytask-gevent[redis-py-cluster]"
        ) from error
    startup = [{"host": host, "port": port} for host, port in hosts]
    # Its check of the coverage asks for CONFIG, which a user with few permissions may not.
    settings.setdefault("skip_full_coverage_check", True)
    return rediscluster.RedisCluster(startup_nodes=startup, **settings)


def make_sentinel_client(
    hosts: tuple[HostPort, ...], service: str, settings: Mapping[str, Any]
) -> Any:
    """Return a client of the master of ``service``; settings named ``sentinel_…`` are for them."""
    from redis.sentinel import Sentinel

    own = {k: v for k, v in settings.items() if not k.startswith("sentinel_")}
    for_sentinels = {
        k.removeprefix("sentinel_"): v for k, v in settings.items() if k.startswith("sentinel_")
    }
    if own.get("ssl"):
        for_sentinels = {
            **{k: v for k, v in own.items() if k == "ssl" or k.startswith("ssl_")},
            **for_sentinels,
        }
    make_sentinel: Any = Sentinel
    sentinel = make_sentinel(list(hosts), sentinel_kwargs=for_sentinels)
    return sentinel.master_for(service, **polite(own))


def make_embedded_client(find_socket: Callable[[], str], settings: Mapping[str, Any]) -> Any:
    """Return a client of an embedded server, which may come back at another socket.

    Args:
        find_socket: Returns the path of the socket; asked for each new connection.
        settings: Further redis-py arguments.
    """

    class EmbeddedConnection(UNIX):  # type: ignore[misc]  # the class is chosen at run time
        def _connect(self) -> Any:
            self.path = find_socket()
            return super()._connect()

    pool = redis.ConnectionPool(connection_class=EmbeddedConnection, **polite(settings))
    return redis.Redis(connection_pool=pool)


def close_client(client: Any) -> None:
    """Close the sockets of a client that was made here."""
    disconnect = getattr(client, "disconnect_connection_pools", None)
    if disconnect is not None:
        disconnect()
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        pool.disconnect()


def _login_options(connection_class: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    is_foreign = connection_class.__module__.partition(".")[0] != "redis"
    is_tls = _is_tls(connection_class)
    is_unix = isinstance(connection_class, type) and issubclass(connection_class, UNIX)
    options = {}
    for name, value in settings.items():
        wanted = (
            (is_foreign and name not in _OURS)
            or name in _LOGIN
            or (is_tls and name.startswith("ssl_"))
        )
        if is_unix and name in ("host", "port", "socket_type"):
            wanted = False
        if wanted and value is not None:
            options[name] = value
    return options


def _with_keepalive(connection_class: Any, options: dict[str, Any]) -> dict[str, Any]:
    # A half-open connection without traffic is found by the kernel within 45 s.
    if isinstance(connection_class, type) and issubclass(connection_class, UNIX):
        options.pop("socket_keepalive", None)
        options.pop("socket_keepalive_options", None)
        return options
    options["socket_keepalive"] = True
    if not options.get("socket_keepalive_options"):
        wanted = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
        options["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)
        }
    return options


def _plain_class(connection_class: Any) -> Any:
    # Connections of Sentinel and cluster clients do the routing that our nodes do.
    module = getattr(connection_class, "__module__", "")
    if module == "redis.sentinel" or module.startswith("rediscluster"):
        return TLS if _is_tls(connection_class) else TCP
    if not inspect.isclass(connection_class):
        raise ConfigurationError(f"cannot open connections of {connection_class!r}")
    return connection_class


def _is_tls(connection_class: Any) -> bool:
    return isinstance(connection_class, type) and issubclass(connection_class, TLS)


def _cluster_classes() -> tuple[type, ...]:
    # An object of a class exists only if its module was imported.
    classes = []
    for module in ("redis.cluster", "rediscluster"):
        found = getattr(sys.modules.get(module), "RedisCluster", None)
        if isinstance(found, type):
            classes.append(found)
    return tuple(classes)


def _has_own_cluster() -> bool:
    return hasattr(redis, "RedisCluster")


def _remap_of(nodes: Any) -> Any:
    rules = getattr(nodes, "host_port_remap", None)
    if not rules:
        return None

    def remap(address: HostPort) -> HostPort:
        mapped = nodes.remap_internal_node_object([*address])
        return str(mapped[0]), int(mapped[1])

    return remap
