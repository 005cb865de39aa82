"""The object through which everything above sends commands: one command, once, our errors.

A link owns its sockets and its locks; two links share nothing. That is what lets the heartbeat
run in a native thread while the hub of gevent runs in another one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pytask.connection.errors import (
    CLIENT_ERRORS,
    ScriptMissing,
    code_of,
    is_disconnect,
    redirect_of,
    translate,
)
from pytask.connection.node import Feed, Node
from pytask.connection.slots import ClusterMap
from pytask.exceptions import NotReplicated

#: How many redirections of one command are followed before the cluster counts as unavailable.
MAX_REDIRECTS = 5


class Link:
    """An independent set of connections to one server.

    Greenlets share it, and threads do; a native thread beside gevent's hub gets a link of its
    own, because gevent's locks and sockets belong to one hub.

    Every method raises pytask's exceptions only. After :class:`RedisUnavailable` it is unknown
    whether the server executed the command; no method sends a command a second time.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def execute(self, *args: Any, replicas: int = 0) -> Any:
        """Send one command and return its raw reply: bytes, int, list or None.

        Args:
            *args: The command and its arguments; on a cluster the first key chooses the node.
            replicas: How many replicas are to have what it writes when this returns.

        Raises:
            NotReplicated: It was carried out, but fewer replicas had it in time.
            RedisUnavailable: No reply, or one that says "later".
            RedisRefused: The server is out of memory.
            WrongKeyType: A key holds another type.
            RedisRejected: The server rejects the command or the credentials.
        """
        try:
            if replicas:
                return self._node.call_confirmed(args, replicas)
            return self._node.call(args)
        except NotReplicated:
            raise  # the server is well, and its answer is ours
        except CLIENT_ERRORS as error:
            self._node.failed(error)
            raise translate(error, args[0]) from error

    def blocking(self, seconds: float, *args: Any, then: tuple[Any, ...] = ()) -> Any:
        """Send a command that the server holds for up to ``seconds``, such as BLMOVE.

        It uses connections of its own whose replies may take two seconds longer.

        Args:
            seconds: The same limit as in the command itself.
            *args: The command and its arguments.
            then: A second command that travels along, for the same node: the server carries it out
                as soon as it is done with the first one.

        Returns:
            The reply to the last of them; that to the first is None when the time was up.

        Raises:
            RedisUnavailable: As for :meth:`execute`; either may have been carried out.
            ScriptMissing: The second one was EVALSHA, and the server does not know the digest.
        """
        try:
            return self._node.call_blocking(seconds, args, then=then)
        except CLIENT_ERRORS as error:
            self._node.failed(error)
            raise translate(error, args[0]) from error

    def evalsha(
        self,
        sha: str,
        source: str | bytes,
        keys: Sequence[str | bytes],
        args: Sequence[str | bytes | int | float],
        replicas: int = 0,
    ) -> Any:
        """Run a script by its digest; in full when the server has forgotten it.

        A server that does not know the digest has executed nothing, so sending the script
        itself is not a repeat. It goes to the same node; SCRIPT LOAD would go to every master
        and fail when another one is down.

        Args:
            sha: SHA-1 of ``source``, in hexadecimal.
            source: The script.
            keys: Its keys; all in one hash slot.
            args: Its arguments.
            replicas: How many replicas are to have what it writes when this returns.

        Raises:
            RedisUnavailable: As for :meth:`execute`, which also has the rest of the list.
        """
        try:
            return self.execute("EVALSHA", sha, len(keys), *keys, *args, replicas=replicas)
        except ScriptMissing:
            return self.execute("EVAL", source, len(keys), *keys, *args, replicas=replicas)

    def pubsub(self) -> Feed:
        """Return a new connection for subscriptions, to a live node.

        Raises:
            RedisUnavailable: The node cannot be reached; on a cluster the next call tries
                another one.
            RedisRejected: The credentials were refused.
        """
        return self._node.open_feed()

    def scan_iter(self, match: str | bytes, count: int = 500) -> Iterator[bytes]:
        """Yield the keys that match, over all masters; a key may come more than once.

        Args:
            match: Pattern in the style of ``KEYS``.
            count: How many keys the server looks at per step.

        Raises:
            RedisUnavailable: A step got no answer; the caller starts again from the beginning.
        """
        for node in self._masters():
            cursor: bytes | int = 0
            while True:
                command = ("SCAN", cursor, "MATCH", match, "COUNT", count)
                cursor, keys = self._call(node, command)
                yield from keys
                if int(cursor) == 0:
                    break

    def masters_execute(self, *args: Any) -> list[Any]:
        """Send one command to each master and return the replies.

        Raises:
            RedisUnavailable: One of them did not answer; others may have executed the command.
        """
        return [self._call(node, args) for node in self._masters()]

    def reset(self) -> None:
        """Drop the sockets and look for the server anew; calls under way are not disturbed."""
        self._node.reset()

    def close(self) -> None:
        """Close the idle sockets; those in use close when their call ends."""
        self._node.reset()

    def _masters(self) -> list[Node]:
        return [self._node]

    def _call(self, node: Node, args: tuple[Any, ...]) -> Any:
        try:
            return node.call(args)
        except CLIENT_ERRORS as error:
            self._failed(node, error)
            raise translate(error, args[0]) from error

    def _failed(self, node: Node, error: Exception) -> None:
        node.failed(error)


class ClusterLink(Link):
    """The same for a Redis Cluster: each command goes to the node that serves its key."""

    def __init__(self, cluster: ClusterMap) -> None:
        self._cluster = cluster
        self._feed_node: Node | None = None

    def execute(self, *args: Any, replicas: int = 0) -> Any:
        """See :meth:`Link.execute`; redirections are followed, they executed nothing."""
        if not replicas:
            return self._routed(args, Node.call, Node.call_asking)

        def call(node: Node, args: tuple[Any, ...]) -> Any:
            return node.call_confirmed(args, replicas)

        def call_asking(node: Node, args: tuple[Any, ...]) -> Any:
            return node.call_confirmed(args, replicas, asking=True)

        return self._routed(args, call, call_asking)

    def blocking(self, seconds: float, *args: Any, then: tuple[Any, ...] = ()) -> Any:
        """See :meth:`Link.blocking`."""

        def call(node: Node, args: tuple[Any, ...]) -> Any:
            return node.call_blocking(seconds, args, then=then)

        def call_asking(node: Node, args: tuple[Any, ...]) -> Any:
            return node.call_blocking(seconds, args, then=then, asking=True)

        return self._routed(args, call, call_asking)

    def pubsub(self) -> Feed:
        """See :meth:`Link.pubsub`; every node hears every message, so any node will do."""
        try:
            node = self._cluster.any_node(but_not=self._feed_node)
        except CLIENT_ERRORS as error:
            raise translate(error, "SUBSCRIBE") from error
        # The next call comes because this connection broke, so it avoids this node.
        self._feed_node = node
        try:
            return node.open_feed()
        except Exception:
            self._cluster.suspect(node)
            raise

    def reset(self) -> None:
        """See :meth:`Link.reset`."""
        self._cluster.reset()

    def close(self) -> None:
        """See :meth:`Link.close`."""
        self._cluster.reset()

    def _masters(self) -> list[Node]:
        try:
            masters = self._cluster.masters()
        except CLIENT_ERRORS as error:
            raise translate(error, "CLUSTER") from error
        random.shuffle(masters)
        return masters

    def _routed(
        self,
        args: tuple[Any, ...],
        call: Callable[[Node, tuple[Any, ...]], Any],
        call_asking: Callable[[Node, tuple[Any, ...]], Any],
    ) -> Any:
        try:
            node = self._cluster.node_for(args)
        except CLIENT_ERRORS as error:
            raise translate(error, args[0]) from error
        send = call
        for _ in range(MAX_REDIRECTS):
            try:
                return send(node, args)
            except NotReplicated:
                raise
            except CLIENT_ERRORS as error:
                redirect = redirect_of(error)
                if redirect is None:
                    self._failed(node, error)
                    raise translate(error, args[0]) from error
                last_error = error
                node = self._cluster.follow(redirect, node)
                send = call_asking if redirect.asking else call
        raise translate(last_error, args[0]) from last_error

    def _failed(self, node: Node, error: Exception) -> None:
        node.failed(error)
        if is_disconnect(error) or code_of(error) == "CLUSTERDOWN":
            self._cluster.suspect(node)
