"""A real Redis Cluster on loopback that tests may break.

with Cluster(masters=3, replicas=1) as cluster:
    old = cluster.owner_of("key")
    old.kill()
    cluster.wait_promoted(old)
"""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from .clients import cluster_client
from .ports import free_port, release_port
from .proxy import Proxy
from .servers import Server
from .waiting import wait_until

SLOTS = 16384
_TAG = re.compile(r"\{([^}]+)\}")


def slot_of(key: str) -> int:
    """Return the hash slot of a key (CRC16 of its hash tag)."""
    tag = _TAG.search(key)
    crc = 0
    for byte in (tag.group(1) if tag else key).encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc % SLOTS


@dataclass(frozen=True)
class NodeView:
    """One line of CLUSTER NODES."""

    node_id: str
    port: int
    is_master: bool
    is_failing: bool
    master_id: str
    slots: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line; slots on their way to another node are left out."""
        node_id, address, flags, master_id, *rest = line.split()
        ranges = [one.split("-") for one in rest[4:] if not one.startswith("[")]
        return cls(
            node_id=node_id,
            port=int(address.split("@")[0].rsplit(":", 1)[1]),
            is_master="master" in flags.split(","),
            is_failing="fail" in flags or "handshake" in flags or "noaddr" in flags,
            master_id=master_id,
            slots=tuple((int(one[0]), int(one[-1])) for one in ranges),
        )


class Cluster:
    """Masters and their replicas, joined and in agreement after ``start``.

    Args:
        masters: Number of masters; slots are spread evenly.
        replicas: Replicas of each master.
        kind: ``valkey`` or ``redis``.
        node_timeout: Milliseconds until a silent node is held for dead.
        proxied: Let every node announce a proxy in front of it, see ``proxy_of``.
        options: Directives for every node.
    """

    def __init__(
        self,
        masters: int = 3,
        replicas: int = 1,
        *,
        kind: str = "valkey",
        node_timeout: int = 2000,
        proxied: bool = False,
        **options: Any,
    ):
        self._proxied = proxied
        self._proxies: dict[Server, Proxy] = {}
        self._masters = masters
        # One slot of each master, by port, as of the last agreement: tells its successor.
        self._anchors: dict[int, int] = {}
        self._bus = [free_port() for _ in range(masters * (1 + replicas))]
        self.nodes = [
            Server(
                kind,
                cluster_enabled="yes",
                cluster_port=bus,
                cluster_node_timeout=node_timeout,
                # Neither a replica's link age nor lost slots may keep a test waiting.
                cluster_replica_validity_factor=0,
                cluster_require_full_coverage="no",
                repl_diskless_sync_delay=0,
                **options,
            )
            for bus in self._bus
        ]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Life cycle

    def start(self) -> Self:
        """Start all nodes, form the cluster and wait until everybody agrees.

        Raises:
            AssertionError: The nodes did not come to agree in time.
        """
        with ExitStack() as undo:
            undo.callback(self.close)
            for node in self.nodes:
                if self._proxied:
                    self._proxies[node] = Proxy(node.address)
                    node.add_option("cluster-announce-port", self._proxies[node].port)
                node.launch()
            for node in self.nodes:
                node.wait_ready()
            self._form()
            self.wait_agreement()
            undo.pop_all()
        return self

    def _form(self) -> None:
        for index, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if index < self._masters:
                first = SLOTS * index // self._masters
                last = SLOTS * (index + 1) // self._masters - 1
                node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            # Everybody meets everybody: waiting for gossip would take seconds.
            for other, bus in zip(self.nodes[:index], self._bus, strict=False):
                node.command("CLUSTER", "MEET", other.host, other.port, bus)
        known = len(self.nodes)
        for node in self.nodes:
            wait_until(
                lambda node=node: sum(not one.is_failing for one in self.view(node)) == known,
                20,
                f"{node!r} knows all {known} nodes",
            )
        for index, node in enumerate(self.nodes[self._masters :]):
            node.command("CLUSTER", "REPLICATE", self.node_id(self.nodes[index % self._masters]))

    def close(self) -> None:
        """Kill every node and remove what it wrote."""
        for one in [*self._proxies.values(), *self.nodes]:
            one.close()
        for port in self._bus:
            release_port(port)

    # Looking at it

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of every node, or of the proxies in front of them."""
        return [self._proxies.get(node, node).address for node in self.nodes]

    @property
    def url(self) -> str:
        """All nodes as one ``redis+cluster://`` address."""
        return "redis+cluster://" + ",".join(f"{host}:{port}" for host, port in self.addresses)

    def client(self, **options: Any) -> Any:
        """Make a cluster client that decodes replies."""
        return cluster_client(self.addresses, **options)

    def proxy_of(self, node: Server) -> Proxy:
        """Return the proxy of a node; clients and replicas pass it, the cluster bus does not."""
        return self._proxies[node]

    def _port(self, node: Server) -> int:
        """The port by which other nodes know this one."""
        return self._proxies.get(node, node).port

    def alive(self) -> list[Server]:
        """Nodes that answer now."""
        return [node for node in self.nodes if node.answers()]

    def view(self, node: Server) -> list[NodeView]:
        """What one node believes about all of them."""
        return [NodeView.parse(line) for line in node.command("CLUSTER", "NODES").splitlines()]

    def node_id(self, node: Server) -> str:
        """Return the 40-digit name a node has in the cluster."""
        return str(node.command("CLUSTER", "MYID"))

    def masters(self) -> list[Server]:
        """Living nodes that hold slots."""
        return [node for node in self.alive() if self._own_view(node).slots]

    def replicas_of(self, master: Server) -> list[Server]:
        """Living replicas of a master that may itself be dead."""
        views = self.view(self.alive()[0])
        ids = {one.node_id for one in views if one.port == self._port(master)}
        ports = {one.port for one in views if one.master_id in ids}
        return [node for node in self.alive() if self._port(node) in ports]

    def owner_of(self, key: str | int) -> Server:
        """Return the master of a key or of a slot number."""
        slot = key if isinstance(key, int) else slot_of(key)
        for node in self.masters():
            if any(first <= slot <= last for first, last in self._own_view(node).slots):
                return node
        raise LookupError(f"nobody serves slot {slot}")

    def _own_view(self, node: Server) -> NodeView:
        return next(one for one in self.view(node) if one.port == self._port(node))

    # Waiting

    def wait_agreement(self, timeout: float = 30.0) -> None:
        """Wait until all living nodes see the same healthy cluster and replicas are in sync."""
        wait_until(self._agrees, timeout, "all nodes agree", interval=0.05)
        own = [(self._port(node), self._own_view(node).slots) for node in self.alive()]
        self._anchors = {port: slots[0][0] for port, slots in own if slots}

    def _agrees(self) -> bool:
        alive = self.alive()
        ports = {self._port(node) for node in alive}
        opinions = set()
        for node in alive:
            if "cluster_state:ok" not in node.command("CLUSTER", "INFO"):
                return False
            views = [one for one in self.view(node) if one.port in ports]
            if any(one.is_failing for one in views):
                return False
            opinions.add(frozenset(views))
        return len(opinions) == 1 and all(self._in_sync(node) for node in alive)

    def _in_sync(self, node: Server) -> bool:
        replication = node.info("replication")
        if replication["role"] == "slave":
            return replication["master_link_status"] == "up"
        lines = [value for name, value in replication.items() if re.fullmatch(r"slave\d+", name)]
        expected = {replica.port for replica in self.replicas_of(node)}
        online = {int(re.findall(r"port=(\d+)", one)[0]) for one in lines if "state=online" in one}
        return expected <= online

    def wait_promoted(self, old: Server, timeout: float = 20.0) -> Server:
        """Wait until another node serves the slots of a master and all living nodes know it.

        Args:
            old: The former master, dead or demoted.
            timeout: Seconds.

        Returns:
            The new master.
        """
        slot = self._anchors[self._port(old)]
        others = {self._port(node): node for node in self.nodes if node is not old}

        def successor() -> Server | None:
            for one in self.view(next(node for node in others.values() if node.answers())):
                if any(first <= slot <= last for first, last in one.slots):
                    return others.get(one.port)
            return None

        promoted = wait_until(successor, timeout, f"a replica of {old!r} takes over")
        self.wait_agreement(timeout)
        return promoted

    # Breaking it

    def failover(self, replica: Server) -> None:
        """Promote a replica by hand: no write is lost. Returns once everybody knows."""
        replica.command("CLUSTER", "FAILOVER")
        wait_until(lambda: self._own_view(replica).slots, 20, f"{replica!r} is master")
        self.wait_agreement()

    def begin_migration(self, slot: int, to: Server) -> Server:
        """Make the masters know that a slot is on its way; no key moves yet.

        Returns:
            The master it comes from.
        """
        source = self.owner_of(slot)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(to))
        return source

    def migrate_slot(self, slot: int, to: Server, *, half_way: bool = False) -> None:
        """Move one slot and its keys to another master.

        Half way, the first half of the keys has moved: clients get ASK for those and
        TRYAGAIN for a command that needs keys of both sides. A second call without
        ``half_way`` completes the move.

        Args:
            slot: Its number.
            to: A master.
            half_way: Leave the slot in migration.
        """
        source, target_id = self.begin_migration(slot, to), self.node_id(to)
        keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 1_000_000)
        if half_way:
            keys = sorted(keys)[: len(keys) // 2]
        if keys:
            source.command("MIGRATE", to.host, to.port, "", 0, 5000, "KEYS", *keys)
        if half_way:
            return
        # The new owner first, as the manual asks: the slot is never without one.
        for node in [to, source, *(one for one in self.masters() if one not in (to, source))]:
            node.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        self.wait_agreement()
