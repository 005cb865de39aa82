"""Back-ends by URL: the scheme of an address decides what pytask works on.

A *back-end* is whatever keeps the tasks. The ones of pytask, ``redis://`` and its relatives and
``local://``, are entries of a registry like anybody else's. Another one enters itself by
:func:`register`, or its package names it as an entry point, which is looked for when a scheme is
not known::

    [options.entry_points]
    pytask.backends =
        myscheme = my_package:connect

What a back-end has to be stands here as protocols; what it has to keep is what
:mod:`pytask.testing.conformance` tests. There are two ways to make one:

* Its server runs Lua scripts as Redis does, but is reached in another way. It gives links.
* It does everything its own way. Its links carry events only, and ``make_store`` returns a subclass
  of :class:`pytask.store.Store` that overrides the verbs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pytask.exceptions import ConfigurationError, RedisError

if TYPE_CHECKING:
    from pytask.keys import Keys
    from pytask.settings import Settings
    from pytask.store import Store

#: The group of entry points in which packages name their schemes.
ENTRY_POINTS = "pytask.backends"

_MEMBERS = ("is_cluster", "is_temporary", "description", "url", "user_client", "link", "close")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


class Feed(Protocol):
    """A connection for subscriptions; belongs to one greenlet or thread."""

    def send(self, *args: Any) -> None:
        """Send a command: to (un)subscribe to channels or patterns, or ``PING`` with a word.

        Raises:
            RedisUnavailable: The connection broke; it is closed.
        """
        ...

    def read(self, timeout: float) -> list[Any] | None:
        """Return what arrived, or None when nothing did within ``timeout`` seconds.

        That is ``[b"message", channel, data]``, ``[b"pmessage", pattern, channel, data]``, for each
        channel subscribed ``[b"subscribe", …]`` or ``[b"psubscribe", …]``, and anything else for
        the answer to a ping.

        Raises:
            RedisUnavailable: The connection broke; it is closed.
            RedisRejected: A subscription was refused.
        """
        ...

    def close(self) -> None:
        """Close the connection; again is harmless."""
        ...


class Link(Protocol):
    """An independent set of connections.

    Greenlets and threads share a link; two links share nothing, because one of them is used by the
    heartbeat in a native thread beside gevent's hub. It connects when it is first used.

    It sends a command *once*. Who repeats is pytask, which knows what can be repeated; a link that
    does so as well breaks the promise that a task is enqueued and claimed once. It raises
    exceptions of ``pytask.exceptions`` only: :class:`~pytask.exceptions.RedisUnavailable` when
    it is unknown whether the command was carried out or when a later try may succeed.
    """

    def execute(self, *args: Any) -> Any:
        """Send one command and return its reply: bytes, int, a list of these, or None.

        Args:
            *args: The command and its arguments: text, bytes, int or float.
        """
        ...

    def evalsha(
        self,
        sha: str,
        source: str | bytes,
        keys: Sequence[str | bytes],
        args: Sequence[str | bytes | int | float],
        replicas: int = 0,
    ) -> Any:
        """Run a script as one step that nothing comes between, and return its reply.

        Args:
            sha: SHA-1 of ``source``, in hexadecimal.
            source: The script, sent only if the server does not know its digest.
            keys: Its keys.
            args: Its arguments.
            replicas: Copies that must have what it wrote when this returns; less is
                :class:`~pytask.exceptions.NotReplicated`.
        """
        ...

    def blocking(self, seconds: float, *args: Any, then: tuple[Any, ...] = ()) -> Any:
        """Send a command the server holds for up to ``seconds``; None when they are over.

        It must not keep other calls waiting.

        Args:
            seconds: The longest wait.
            *args: The command and its arguments.
            then: A second command that travels along, carried out as soon as the first one is
                over; its reply is returned in place of the first.
        """
        ...

    def pubsub(self) -> Feed:
        """Return a new connection for subscriptions."""
        ...

    def scan_iter(self, match: str | bytes, count: int = 500) -> Iterator[bytes]:
        """Yield the keys that match a pattern, each at least once."""
        ...

    def masters_execute(self, *args: Any) -> list[Any]:
        """Send one command to each server that holds keys and return the replies."""
        ...

    def reset(self) -> None:
        """Drop the connections; the next call opens new ones."""
        ...

    def close(self) -> None:
        """Close the connections; calls under way may end."""
        ...


class Backend(Protocol):
    """What a factory returns: one place where tasks are kept.

    Nothing is connected before a link is used: an app that is only imported must not fail.
    """

    @property
    def is_cluster(self) -> bool:
        """Whether keys live on several servers, so that those of one partition need a hash tag."""
        ...

    @property
    def is_temporary(self) -> bool:
        """Whether what it keeps is meant to go when this process ends."""
        ...

    @property
    def description(self) -> str:
        """The address without credentials, for logs and errors."""
        ...

    @property
    def url(self) -> str | None:
        """Where other processes reach a server that this one has started; None otherwise."""
        ...

    @property
    def user_client(self) -> Any:
        """What tasks see as ``self.redis``."""
        ...

    def link(self, *, timeout: float = 5.0, connect_timeout: float = 2.0) -> Link:
        """Return an independent set of connections.

        Args:
            timeout: Seconds a reply may take.
            connect_timeout: Seconds until a connection must be up.
        """
        ...

    def close(self) -> None:
        """Close everything; it may be used again all the same."""
        ...


@runtime_checkable
class MakesStore(Protocol):
    """A back-end that does not leave the verbs to the scripts of pytask."""

    def make_store(self, link: Any, keys: Keys, settings: Settings) -> Store:
        """Return the verbs of :class:`pytask.store.Store`, done another way."""
        ...


#: Takes the whole URL and returns a back-end; raises ConfigurationError for one it cannot use.
Factory = Callable[..., Backend]


def register(scheme: str, factory: Factory) -> None:
    """Let addresses of a scheme lead to a back-end, in this process.

    Args:
        scheme: What stands before ``://``, in lower case.
        factory: Called with the URL, and with what else :func:`pytask.connection.connect` was
            given.

    Raises:
        ConfigurationError: The scheme is taken, or is none.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(f"scheme {scheme!r}: a-z, then a-z, 0-9, +, . or - are allowed")
    if _factories.setdefault(scheme, factory) is not factory:
        raise ConfigurationError(f"scheme {scheme!r} is taken by {_factories[scheme]!r}")


def schemes() -> list[str]:
    """Return the schemes that lead somewhere: registered here, or named by installed packages."""
    installed = (point.name for point in entry_points(group=ENTRY_POINTS))
    return list(dict.fromkeys([*_factories, *sorted(installed)]))


def open_url(url: str, **options: Any) -> Backend:
    """Return the back-end an address leads to.

    Args:
        url: The address.
        **options: For the factory of its scheme.

    Raises:
        ConfigurationError: Nobody knows the scheme, or its factory cannot use the address.
    """
    scheme, separator, _ = url.partition("://")
    scheme = scheme.lower()
    factory = (_factories.get(scheme) or _installed(scheme)) if separator else None
    if factory is None:
        known = ", ".join(f"{name}://" for name in schemes())
        found = f"this one with {scheme}://" if separator else "this one has no scheme"
        raise ConfigurationError(f"a Redis URL starts with one of {known}; {found}")
    try:
        backend = factory(url, **options)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"this {scheme}:// address cannot be used: {error}") from error
    missing = [name for name in _MEMBERS if not _has(backend, name)]
    if missing:
        raise ConfigurationError(
            f"{scheme}:// leads to a {type(backend).__name__}, which is no back-end: it has no "
            f"{', '.join(missing)}"
        )
    return backend


def error_of_reply(text: str, command: object = "") -> RedisError:
    """Return the exception for an error reply of a server that speaks as Redis does.

    Args:
        text: The reply, such as ``WRONGTYPE Operation against a key …``.
        command: Name of the command, for the message.
    """
    # Here, because it imports redis-py, which must come after gevent's patching.
    from pytask.connection.errors import error_of_text

    return error_of_text(text, command)


def _built_in(url: str, **options: Any) -> Backend:
    from pytask.connection.connector import open_redis

    return open_redis(url, **options)


def _installed(scheme: str) -> Factory | None:
    """Return the factory that an installed package offers for a scheme."""
    found: Sequence[EntryPoint] = tuple(entry_points(group=ENTRY_POINTS, name=scheme))
    if not found:
        return None
    names = sorted({point.value for point in found})
    if len(names) > 1:
        raise ConfigurationError(f"{scheme}:// is offered by {' and by '.join(names)}")
    try:
        factory: Factory = found[0].load()
    except Exception as error:
        raise ConfigurationError(
            f"{scheme}:// is offered by {names[0]}, which cannot be imported: {error}"
        ) from error
    register(scheme, factory)
    return factory


def _has(backend: object, name: str) -> bool:
    try:
        # Without asking a property, which may connect.
        inspect.getattr_static(backend, name)
    except AttributeError:
        return False
    return True


_factories: dict[str, Factory] = dict.fromkeys(
    (
        "redis",
        "rediss",
        "unix",
        "redis+cluster",
        "rediss+cluster",
        "redis+sentinel",
        "rediss+sentinel",
        "local",
    ),
    _built_in,
)
