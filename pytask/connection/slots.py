"""Which node of a Redis Cluster serves a command.

The table of hash slots is read from any node that answers, and corrected by what the nodes say:
``MOVED`` fixes one slot at once and asks for a new table, a dead node only asks for a new table.
redis-py's cluster client is not used: a lost reply makes it send the command again or, without
retries, rebuild its whole table and drop every socket; redis-py-cluster always sends it again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from binascii import crc_hqx
from collections.abc import Callable, Iterable
from typing import Any

from redis import exceptions as redis_errors

from pytask.connection.errors import CLIENT_ERRORS, Redirect, translate
from pytask.connection.node import Node
from pytask.exceptions import RedisUnavailable

logger = logging.getLogger(__name__)

Address = tuple[str, int]

#: Number of hash slots of every Redis Cluster.
SLOTS = 16_384

#: Shortest time between two reads of the table, in seconds; failing callers share one read.
REFRESH_INTERVAL = 0.1

# Commands that name no key: any master will do.
_KEYLESS = frozenset(
    (
        "ACL",
        "CLIENT",
        "CLUSTER",
        "COMMAND",
        "CONFIG",
        "DBSIZE",
        "DEBUG",
        "ECHO",
        "FUNCTION",
        "INFO",
        "KEYS",
        "LATENCY",
        "PING",
        "PUBLISH",
        "PUBSUB",
        "RANDOMKEY",
        "ROLE",
        "SCAN",
        "SCRIPT",
        "SLOWLOG",
        "TIME",
        "WAIT",
        "WAITAOF",
    )
)
_KEY_AFTER_SUBCOMMAND = frozenset(("MEMORY", "OBJECT", "XGROUP", "XINFO"))
_KEY_AFTER_COUNT = frozenset(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"))


def slot_of(key: str | bytes) -> int:
    """Return the hash slot of ``key``; only the part in braces counts when there is one."""
    raw = key.encode() if isinstance(key, str) else key
    start = raw.find(b"{")
    if start >= 0:
        end = raw.find(b"}", start + 1)
        if end > start + 1:
            raw = raw[start + 1 : end]
    return crc_hqx(raw, 0) % SLOTS


def first_key(args: tuple[Any, ...]) -> str | bytes | None:
    """Return the first key of a command, or None when it names no key."""
    command = args[0].upper() if isinstance(args[0], str) else args[0].decode().upper()
    if command in _KEY_AFTER_COUNT:
        return args[3] if int(args[2]) > 0 else None
    if command in _KEYLESS:
        return None
    position = 2 if command in _KEY_AFTER_SUBCOMMAND else 1
    return args[position] if len(args) > position else None


class ClusterMap:
    """The nodes of one cluster and the slots they serve, for one link."""

    def __init__(
        self,
        startup: Iterable[Address],
        make_node: Callable[[Address], Node],
        remap: Callable[[Address], Address] | None = None,
    ) -> None:
        """Remember where to ask; nothing is connected yet.

        Args:
            startup: Nodes to ask for the table; more than one, so that one may be down.
            make_node: Creates the node at an address.
            remap: Turns an address the cluster announces into one that can be reached from here.
        """
        self._startup = tuple(startup)
        self._make_node = make_node
        self._remap = remap
        self._nodes: dict[Address, Node] = {address: make_node(address) for address in startup}
        self._slots: list[Address | None] = [None] * SLOTS
        self._masters: tuple[Address, ...] = ()
        self._suspects: set[Node] = set()
        self._is_stale = True
        self._read_at = float("-inf")
        self._read_failure: Exception | None = None
        self._reading = threading.Lock()

    def node_for(self, args: tuple[Any, ...]) -> Node:
        """Return the node that serves a command.

        Raises:
            redis.ConnectionError: No node answers, or nobody serves the slot at present.
        """
        if self._is_stale:
            self.refresh()
        key = first_key(args)
        if key is None:
            return self.node_at(random.choice(self._masters))
        address = self._slots[slot_of(key)]
        if address is None:
            self._is_stale = True
            raise redis_errors.ConnectionError(f"no node serves hash slot {slot_of(key)} now")
        return self.node_at(address)

    def node_at(self, address: Address) -> Node:
        """Return the node at ``address``, a new one if it was not known."""
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes.setdefault(address, self._make_node(address))
        return node

    def masters(self) -> list[Node]:
        """Return the nodes that serve slots, by a table read just now."""
        self._is_stale = True
        self.refresh()
        return [self.node_at(address) for address in self._masters]

    def any_node(self, but_not: Node | None = None) -> Node:
        """Return a random node, replicas included, and another one than ``but_not`` if possible."""
        if self._is_stale:
            self.refresh()
        nodes = [node for node in self._nodes.values() if node is not but_not]
        healthy = [node for node in nodes if node not in self._suspects]
        return random.choice(healthy or nodes or [self.node_at(self._startup[0])])

    def follow(self, redirect: Redirect, source: Node) -> Node:
        """Return the node a redirection names; a moved slot is remembered."""
        address = redirect.address
        if not address[0]:
            address = (self._host_of(source), address[1])
        if self._remap is not None:
            address = self._remap(address)
        if not redirect.asking:
            self._slots[redirect.slot] = address
            self._is_stale = True
        return self.node_at(address)

    def suspect(self, node: Node) -> None:
        """Read the table again before the next command, and not first from ``node``: it failed."""
        self._suspects.add(node)
        self._is_stale = True

    def reset(self) -> None:
        """Drop all sockets and read the table again before the next command."""
        self._is_stale = True
        for node in list(self._nodes.values()):
            node.reset()

    def refresh(self) -> None:
        """Read the table from the first node that answers.

        Callers that arrive while one is reading wait for it and share its result, good or bad:
        a cluster out of reach costs the time-outs once, not once per caller.

        Raises:
            redis.ConnectionError: No node answers.
        """
        asked_at = time.monotonic()
        with self._reading:
            if self._read_at <= asked_at - REFRESH_INTERVAL:
                self._read_failure = self._read()
                self._read_at = time.monotonic()
            if self._read_failure is not None:
                raise self._read_failure.with_traceback(None)
            self._is_stale = False

    def _read(self) -> Exception | None:
        reasons = []
        refusal: Exception | None = None
        for address in self._candidates():
            node = self.node_at(address)
            try:
                ranges = node.call(("CLUSTER", "SLOTS"))
            except CLIENT_ERRORS as error:
                node.failed(error)
                self._suspects.add(node)
                reasons.append(f"{address[0]}:{address[1]}: {error}")
                refusal = refusal or _refusal(error)
                continue
            if ranges:
                self._adopt(ranges, address[0])
                return None
            reasons.append(f"{address[0]}:{address[1]}: serves no slots")
        # Wrong credentials, or a server that is no cluster: no use in coming back later.
        return refusal or redis_errors.ConnectionError(
            f"no cluster node answers ({'; '.join(reasons)})"
        )

    def _candidates(self) -> list[Address]:
        # Masters first: a replica that lost its master may tell an old story. Those that just
        # failed come last: a machine that is gone answers by a time-out.
        addresses = list(self._nodes)
        random.shuffle(addresses)
        return sorted(
            addresses,
            key=lambda one: (self._nodes[one] in self._suspects, one not in self._masters),
        )

    def _adopt(self, ranges: list[Any], asked_host: str) -> None:
        slots: list[Address | None] = [None] * SLOTS
        masters: dict[Address, None] = {}
        members: dict[Address, None] = {}
        for first, last, *servers in ranges:
            addresses = [self._address_of(server, asked_host) for server in servers]
            members.update(dict.fromkeys(addresses))
            masters[addresses[0]] = None
            slots[first : last + 1] = [addresses[0]] * (last + 1 - first)
        for address in list(self._nodes):
            if address not in members and address not in self._startup:
                gone = self._nodes.pop(address, None)
                if gone is not None:
                    gone.reset()
        for address in members:
            self.node_at(address)
        self._slots = slots
        self._masters = tuple(masters)
        self._suspects.clear()
        logger.debug("cluster table read: %d masters, %d nodes", len(masters), len(members))

    def _address_of(self, server: list[Any], asked_host: str) -> Address:
        host = server[0].decode() if server[0] else ""
        address = (asked_host if host in ("", "?") else host, int(server[1]))
        return self._remap(address) if self._remap is not None else address

    def _host_of(self, node: Node) -> str:
        for address, known in self._nodes.items():
            if known is node:
                return address[0]
        return self._startup[0][0]


def _refusal(error: Exception) -> Exception | None:
    return None if isinstance(translate(error), RedisUnavailable) else error
