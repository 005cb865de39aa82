"""From what the user calls "the Redis" to links: connections of our own to the same place."""

from __future__ import annotations

import threading
from typing import Any

from pytask import backends
from pytask.backends import Backend
from pytask.connection import clients
from pytask.connection.address import Address, HostPort, read_address
from pytask.connection.embedded import EmbeddedEndpoint, EmbeddedServer, obtain_server
from pytask.connection.link import ClusterLink, Link
from pytask.connection.node import Endpoint, FixedEndpoint, Node, SentinelEndpoint
from pytask.connection.slots import ClusterMap
from pytask.connection.wire import WireFactory


class Connector:
    """One Redis, sentinel-watched Redis, Redis Cluster or embedded server.

    Attributes:
        is_cluster: Whether keys need a hash tag and commands are routed.
        is_temporary: Whether the data go when this process ends: an embedded server without a
            directory.
        description: The address as a URL, without credentials, for logs and error messages.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._user_client: Any = None
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._server: EmbeddedServer | None = None
        self.is_cluster = address.kind == "cluster"
        self.is_temporary = address.kind == "local" and address.directory is None
        self.description = address.description

    @property
    def user_client(self) -> Any:
        """The client object that was given, or one made from the address at its first use.

        A client made here returns text (``decode_responses=True``) and sends nothing twice,
        unless the address says otherwise.

        Raises:
            ConfigurationError: The installed packages have no client for this address.
        """
        if self._user_client is None:
            client = self._make_user_client()
            with self._lock:
                if self._user_client is None:
                    self._user_client = client
        return self._user_client

    @property
    def url(self) -> str | None:
        """Where other processes reach an embedded server; None for any other address.

        Raises:
            ConfigurationError: The embedded server cannot be started.
        """
        server = self._embedded_server()
        return server.url if server is not None else None

    def link(self, *, timeout: float = 5.0, connect_timeout: float = 2.0) -> Link:
        """Return an independent set of connections; it connects when it is first used.

        Args:
            timeout: Seconds a reply may take; also how long a call waits for a free connection.
            connect_timeout: Seconds until a connection must be up.

        Raises:
            ConfigurationError: The embedded server cannot be started.
        """
        address = self._address
        factory = WireFactory(
            address.connection_class,
            address.options,
            timeout=timeout,
            connect_timeout=connect_timeout,
        )

        def node(endpoint: Endpoint) -> Node:
            return Node(endpoint, factory, wait_seconds=timeout)

        def cluster_node(host_port: HostPort) -> Node:
            return node(FixedEndpoint({"host": host_port[0], "port": host_port[1]}))

        link: Link
        if address.kind == "cluster":
            link = ClusterLink(ClusterMap(address.hosts, cluster_node, address.remap))
        else:
            link = Link(node(self._endpoint(timeout, connect_timeout)))
        with self._lock:
            self._links.append(link)
        return link

    def close(self) -> None:
        """Close all links, and end an embedded server if nobody else here uses it.

        A client object that the user gave stays open.
        """
        with self._lock:
            links, self._links = self._links, []
            client, self._user_client = self._user_client, None
            server, self._server = self._server, None
        for link in links:
            link.close()
        if client is not None and client is not self._address.client:
            clients.close_client(client)
        if server is not None:
            server.release()

    def _embedded_server(self) -> EmbeddedServer | None:
        # Not before it is needed: an app that is only imported must not start a server.
        if self._address.kind != "local":
            return None
        with self._lock:
            if self._server is None:
                self._server = obtain_server(self._address.directory)
            return self._server

    def _make_user_client(self) -> Any:
        server = self._embedded_server()
        if server is not None:
            return clients.make_embedded_client(server.ensure, self._address.options)
        return self._address.make_client()

    def _endpoint(self, timeout: float, connect_timeout: float) -> Endpoint:
        address = self._address
        server = self._embedded_server()
        if server is not None:
            return EmbeddedEndpoint(server)
        if address.kind == "sentinel":
            factory = WireFactory(
                address.sentinel_class,
                address.sentinel_options,
                timeout=min(timeout, connect_timeout),
                connect_timeout=connect_timeout,
            )
            return SentinelEndpoint(address.service, address.hosts, factory, address.remap)
        if "path" in address.options:
            return FixedEndpoint({})
        host, port = address.hosts[0]
        return FixedEndpoint({"host": host, "port": port})

    def __repr__(self) -> str:
        return f"Connector({self.description})"


def connect(redis_instance: Any, **options: Any) -> Backend:
    """Return the back-end for an address in any of the accepted forms.

    Args:
        redis_instance: A URL of any scheme in :mod:`pytask.backends`, a dict of redis-py
            arguments, a ``(host, port)`` pair, a list of pairs or dicts (more than one: a
            cluster), or a client object.
        **options: redis-py arguments that complete an address, such as ``password``, and
            ``address_remap``, a function from an announced ``(host, port)`` to a reachable one.

    Raises:
        ConfigurationError: The address cannot be used.
    """
    if isinstance(redis_instance, str):
        return backends.open_url(redis_instance, **options)
    return open_redis(redis_instance, **options)


def open_redis(redis_instance: Any, **options: Any) -> Connector:
    """Return a connector for an address of ours; see :func:`connect`.

    Raises:
        ConfigurationError: The address cannot be used.
    """
    return Connector(read_address(redis_instance, options))
