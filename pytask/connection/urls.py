"""Redis URLs, read the same way under every version of redis-py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pytask.exceptions import ConfigurationError

HostPort = tuple[str, int]

_KINDS = {
    "redis": "single",
    "rediss": "single",
    "unix": "single",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "local": "local",
}


@dataclass(frozen=True)
class ParsedURL:
    """The parts of a URL.

    Attributes:
        kind: ``single``, ``sentinel``, ``cluster`` or ``local``.
        hosts: All hosts with their ports.
        settings: redis-py arguments, host and port included for a single server.
        service: The service that sentinels watch.
        directory: Data directory of a ``local`` server.
    """

    kind: str
    hosts: tuple[HostPort, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    service: str = ""
    directory: str | None = None


def parse(url: str) -> ParsedURL:
    """Take a URL apart.

    ``redis://user:password@host:port/db?option=value``, ``rediss://`` for TLS,
    ``unix://user:password@/path?db=0``, ``redis+cluster://host:port,host:port``,
    ``redis+sentinel://host:port,host:port/service/db``, ``local://`` and ``local:///directory``.

    Raises:
        ConfigurationError: The scheme is none of these, or a part cannot be read.
    """
    scheme, separator, _ = url.partition("://")
    kind = _KINDS.get(scheme.lower())
    if not separator or kind is None:
        known = ", ".join(f"{name}://" for name in _KINDS)
        found = f"this one with {scheme}://" if separator else "this one has no scheme"
        raise ConfigurationError(f"a Redis URL starts with one of {known}; {found}")
    parts = urlsplit(url)
    credentials, _, hosts_text = parts.netloc.rpartition("@")
    settings = _settings_of(parts.query)
    user, _, password = credentials.partition(":")
    settings.update({"username": unquote(user)} if user else {})
    settings.update({"password": unquote(password)} if password else {})
    path = unquote(parts.path)
    if kind == "local":
        return ParsedURL(kind, settings=settings, directory=(hosts_text + path) or None)
    if scheme.lower() == "unix":
        if not path:
            raise ConfigurationError("a unix:// URL names the path of the socket")
        return ParsedURL(kind, settings={**settings, "unix_socket_path": path})
    if scheme.lower().startswith("rediss"):
        settings["ssl"] = True
    default_port = 26379 if kind == "sentinel" else 6379
    hosts = tuple(_host_port(text, default_port) for text in hosts_text.split(",") if text)
    service, database = _service_and_database(path, kind)
    settings.update({"db": _database(database)} if database else {})
    if kind == "single":
        host, port = hosts[0] if hosts else ("localhost", 6379)
        settings = {**settings, "host": host, "port": port}
    return ParsedURL(
        kind, hosts=hosts or (("localhost", default_port),), settings=settings, service=service
    )


def _host_port(text: str, default_port: int) -> HostPort:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if port and not port.isdigit():
        raise ConfigurationError(f"{port!r} is no port")
    return unquote(host) or "localhost", int(port) if port else default_port


def _service_and_database(path: str, kind: str) -> tuple[str, str]:
    if kind != "sentinel":
        return "", path.strip("/")
    service, _, database = path.strip("/").partition("/")
    return service, database


def _database(text: str) -> int:
    if not text.isdigit():
        raise ConfigurationError(f"{text!r} is no database number")
    return int(text)


def _truth(text: str) -> bool:
    return text.lower() not in ("0", "f", "false", "n", "no", "off", "")


_READERS: dict[str, Callable[[str], Any]] = {
    "db": int,
    "decode_responses": _truth,
    "health_check_interval": int,
    "max_connections": int,
    "protocol": int,
    "retry_on_timeout": _truth,
    "socket_connect_timeout": float,
    "socket_keepalive": _truth,
    "socket_read_size": int,
    "socket_timeout": float,
    "ssl_check_hostname": _truth,
}


def _settings_of(query: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, text in parse_qsl(query):
        try:
            settings[name] = _READERS.get(name, str)(text)
        except ValueError as error:
            raise ConfigurationError(f"{text!r} is no value for {name!r}") from error
    return settings
