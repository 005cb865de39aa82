"""The only package that knows redis-py: from an address to commands, with our errors.

:func:`connect` reads what the user calls "the Redis" and returns a :class:`Connector`, which
makes :class:`Link` objects: independent sets of connections of our own. A link sends a command
once; :func:`retrying` is the one place where anything is sent again.

Importing this package imports redis-py, so it comes after gevent's monkey-patching.
"""

from pytask.connection.connector import Connector, connect, open_redis
from pytask.connection.embedded import EmbeddedServer
from pytask.connection.errors import translate
from pytask.connection.link import Link
from pytask.connection.node import Feed
from pytask.connection.retry import Patience, retrying

__all__ = [
    "Connector",
    "EmbeddedServer",
    "Feed",
    "Link",
    "Patience",
    "connect",
    "open_redis",
    "retrying",
    "translate",
]
