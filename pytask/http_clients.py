"""Makes what ``self.http`` of a task is: a client of httpx, which is an optional extra."""

from __future__ import annotations

from typing import Any

from pytask.exceptions import ConfigurationError

#: Most connections of one client; tens of thousands of tasks may want one.
MAX_CONNECTIONS = 1_000
#: Most connections kept open for the next request.
MAX_KEPT = 100


def make_client() -> Any:
    """Return a ``httpx.Client``.

    Raises:
        ConfigurationError: httpx is not installed.
    """
    return _httpx().Client(**_options())


def make_async_client() -> Any:
    """Return a ``httpx.AsyncClient``.

    Raises:
        ConfigurationError: httpx is not installed.
    """
    return _httpx().AsyncClient(**_options())


def _options() -> dict[str, Any]:
    httpx = _httpx()
    return {
        "limits": httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEPT),
        # Waiting for a free connection is what a pool is for: the time-out of the task bounds it.
        "timeout": httpx.Timeout(30.0, connect=10.0, pool=None),
    }


def _httpx() -> Any:
    try:
        import httpx
    except ImportError:
        raise ConfigurationError(
            "self.http needs httpx, which is not installed: pip install 'pytask-gevent[http]'"
        ) from None
    return httpx
