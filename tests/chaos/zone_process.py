"""The process behind :class:`tests.chaos.zones.Zone`: proxies to several servers, switched at once.

Usage: zone_process.py OWN_HOST:PORT:HOST:TARGET_PORT ...

Commands come as JSON lines on stdin and are answered on stdout, as for ``proxy_process``; ``node``
names one of the proxies by its index, without it all are meant.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from tests.support.proxy_process import Connection, Mode, ProxyServer


class SlowConnection(Connection):
    """Knows two more modes: ``trickle`` sends replies in crumbs, ``jitter`` at uneven times."""

    async def _reply(self, message: bytes) -> None:
        mode = self._proxy.mode
        if mode.name == "jitter":
            await asyncio.sleep(random.uniform(0, mode.seconds))
        elif mode.name == "trickle":
            # All but the last byte, so that the base class still ends the message.
            head, message = message[:-1][:200], message[len(message[:-1][:200]) :]
            for start in range(0, len(head), 16):
                self._client_writer.write(head[start : start + 16])
                await self._client_writer.drain()
                await asyncio.sleep(mode.seconds)
        await super()._reply(message)


class SlowProxy(ProxyServer):
    """Args: host: Where it listens. port: The same. target: Where it connects to."""

    def __init__(self, host: str, port: int, target: tuple[str, int]) -> None:
        super().__init__(port, target)
        self._host = host
        self.mode = Mode()

    async def listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, self._host, self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        connection = SlowConnection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


async def handle(proxies: list[SlowProxy], command: dict[str, Any]) -> Any:
    verb, node = command.pop("verb"), command.pop("node", None)
    chosen = proxies if node is None else [proxies[node]]
    if verb == "counts":
        return [proxy.counts for proxy in proxies]
    for proxy in chosen:
        await proxy.handle(verb, dict(command))
    return None


async def main() -> None:
    """Serve until stdin closes."""
    proxies = []
    for word in sys.argv[1:]:
        own, port, host, target = word.split(":")
        proxies.append(SlowProxy(own, int(port), (host, int(target))))
        await proxies[-1].listen()
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    answer: Any = None
    while True:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if not (line := await commands.readline()):
            return
        answer = await handle(proxies, json.loads(line))


if __name__ == "__main__":
    asyncio.run(main())
