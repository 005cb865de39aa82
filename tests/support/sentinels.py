"""A master, its replicas and three sentinels that watch them."""

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import redis

from .servers import Server
from .waiting import wait_until

SERVICE = "main"


class Sentinels:
    """A replicated server with automatic failover.

    Args:
        replicas: Number of replicas.
        kind: ``valkey`` or ``redis``.
        down_after: Milliseconds until a silent master is held for dead.
        options: Directives for the master and its replicas.
    """

    service = SERVICE

    def __init__(
        self, replicas: int = 1, *, kind: str = "valkey", down_after: int = 1000, **options: Any
    ):
        self._down_after = down_after
        self.nodes = [
            Server(kind, repl_diskless_sync_delay=0, **options) for _ in range(1 + replicas)
        ]
        self.sentinels = [_Sentinel(kind) for _ in range(3)]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start everything and wait until each sentinel knows the whole group."""
        with ExitStack() as undo:
            undo.callback(self.close)
            for server in [*self.nodes, *self.sentinels]:
                server.launch()
            for server in [*self.nodes, *self.sentinels]:
                server.wait_ready()
            first, *others = self.nodes
            for replica in others:
                replica.command("REPLICAOF", first.host, first.port)
            for replica in others:
                wait_until(lambda replica=replica: _link_is_up(replica), 20, "replica in sync")
            for sentinel in self.sentinels:
                sentinel.command("SENTINEL", "MONITOR", SERVICE, first.host, first.port, 2)
                for name, value in (
                    ("down-after-milliseconds", self._down_after),
                    ("failover-timeout", 3000),
                ):
                    sentinel.command("SENTINEL", "SET", SERVICE, name, value)
            wait_until(self._agree, 30, "sentinels know each other and the replicas")
            undo.pop_all()
        return self

    def _agree(self) -> bool:
        return all(
            len(sentinel.command("SENTINEL", "SENTINELS", SERVICE)) == len(self.sentinels) - 1
            and len(sentinel.command("SENTINEL", "REPLICAS", SERVICE)) == len(self.nodes) - 1
            for sentinel in self.sentinels
        )

    def close(self) -> None:
        """Kill all processes and remove what they wrote."""
        for server in [*self.sentinels, *self.nodes]:
            server.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each sentinel."""
        return [sentinel.address for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        """The group as a ``redis+sentinel://`` address."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def master(self) -> Server:
        """The server a living sentinel names as master."""
        sentinel = next(one for one in self.sentinels if one.answers())
        port = int(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        return next(node for node in self.nodes if node.port == port)

    def failover(self) -> Server:
        """Make the sentinels promote a replica; return the new master."""
        old = self.master
        self.sentinels[0].command("SENTINEL", "FAILOVER", SERVICE)
        return self.wait_promoted(old)

    def wait_promoted(self, old: Server, timeout: float = 30.0) -> Server:
        """Wait until all sentinels name another master than ``old`` and it accepts writes."""

        def promoted() -> bool:
            names = {
                int(one.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
                for one in self.sentinels
                if one.answers()
            }
            return len(names) == 1 and old.port not in names and _is_master(self.master)

        wait_until(promoted, timeout, f"sentinels replace {old!r}", interval=0.05)
        return self.master


class _Sentinel(Server):
    def __init__(self, kind: str):
        super().__init__(kind)
        # A sentinel insists on a configuration file that it may rewrite.
        configuration = self.directory / "sentinel.conf"
        configuration.write_text(
            f"bind {self.host}\nport {self.port}\ndir {self.directory}\n"
            f'logfile "{self.directory}/server.log"\n'
        )
        self._command = [self._command[0], str(configuration), "--sentinel"]


def _link_is_up(replica: Server) -> bool:
    return replica.info("replication")["master_link_status"] == "up"


def _is_master(server: Server) -> bool:
    try:
        return server.info("replication")["role"] == "master"
    except redis.RedisError:
        return False
