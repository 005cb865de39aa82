"""The process behind :class:`tests.support.proxy.Proxy`; standard library only.

Usage: proxy_process.py PORT TARGET_HOST TARGET_PORT

Commands come as JSON lines on stdin, each is answered by one on stdout. The
protocol is followed just far enough to know where a request or reply ends, and
which reply belongs to which request; bytes pass unchanged.
"""

import asyncio
import json
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_HEADERS_WITH_LENGTH = b"$!="
_AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}


def message_end(data: bytes | bytearray, start: int = 0) -> int:
    """Return the offset behind the first RESP message, or -1 when it is incomplete."""
    pending, position = 1, start
    while pending:
        line = data.find(b"\r\n", position)
        if line < 0:
            return -1
        kind, following = data[position], line + 2
        if kind in _HEADERS_WITH_LENGTH:
            length = int(data[position + 1 : line])
            following += length + 2 if length >= 0 else 0
            if following > len(data):
                return -1
        pending -= 1
        if kind in _AGGREGATES:
            pending += max(int(data[position + 1 : line]), 0) * _AGGREGATES[kind]
            # An attribute announces the real reply behind it.
            pending += kind == ord("|")
        position = following
    return position


class Splitter:
    """Cuts a byte stream into whole RESP messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes; return the messages they complete."""
        self._buffer += data
        messages, start = [], 0
        while start < len(self._buffer) and (end := message_end(self._buffer, start)) > 0:
            messages.append(bytes(self._buffer[start:end]))
            start = end
        del self._buffer[:start]
        return messages


@dataclass
class Mode:
    """What happens to messages now."""

    name: str = "pass"
    seconds: float = 0.0
    after: int = 0
    times: int = 0
    request: str = ""

    def matches(self, request: bytes) -> bool:
        """Whether the fault is meant for this request."""
        return self.request.encode("latin-1") in request


class Connection:
    """One client connection and its counterpart at the server."""

    def __init__(self, proxy: "ProxyServer", reader: Any, writer: Any):
        self._proxy = proxy
        self._client_reader, self._client_writer = reader, writer
        self._waiting: deque[bytes] = deque()
        self._upstream: asyncio.StreamWriter | None = None
        # Set once a replica asks for the data set: what follows is no RESP.
        self._is_replication = False

    async def run(self) -> None:
        """Move messages both ways until either side closes."""
        pumps: list[asyncio.Task[None]] = []
        try:
            reader, self._upstream = await asyncio.open_connection(*self._proxy.target)
            client, server = self._client_writer, self._upstream
            pumps = [
                asyncio.create_task(self._pump(self._client_reader, server, self._request)),
                asyncio.create_task(self._pump(reader, client, self._reply)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            self.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handle: Callable[[bytes], Any],
    ) -> None:
        splitter = Splitter()
        try:
            while data := await reader.read(65536):
                if not self._is_replication:
                    for message in splitter.feed(data):
                        await handle(message)
                elif self._proxy.mode.name != "hole":
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass

    async def _request(self, message: bytes) -> None:
        mode, counts = self._proxy.mode, self._proxy.counts
        counts["requests"] += 1
        if mode.name == "hole" or (mode.name == "drop" and mode.matches(message)):
            counts["dropped"] += 1
            return
        self._waiting.append(message)
        self._is_replication = b"\r\nPSYNC\r\n" in message
        assert self._upstream is not None
        self._upstream.write(message)
        await self._upstream.drain()

    async def _reply(self, message: bytes) -> None:
        mode, counts = self._proxy.mode, self._proxy.counts
        request = self._waiting.popleft() if self._waiting else b""
        counts["replies"] += 1
        if mode.name == "delay":
            await asyncio.sleep(mode.seconds)
            mode = self._proxy.mode
        if mode.name == "cut" and mode.matches(request) and self._proxy.cut_now():
            self.close()
            return
        if mode.name == "hole" or (mode.name == "swallow" and mode.matches(request)):
            counts["swallowed"] += 1
            return
        self._client_writer.write(message)
        await self._client_writer.drain()

    def close(self) -> None:
        """Reset both sides, without a polite goodbye."""
        for writer in (self._client_writer, self._upstream):
            if writer is not None:
                raw = writer.get_extra_info("socket")
                if raw is not None and raw.fileno() >= 0:
                    linger = struct.pack("ii", 1, 0)
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()


class ProxyServer:
    """Listens, holds the mode and counts."""

    def __init__(self, port: int, target: tuple[str, int]):
        self.port, self.target = port, target
        self.mode = Mode()
        names = ("connections", "requests", "replies", "cut", "swallowed", "dropped")
        self.counts = dict.fromkeys(names, 0)
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None

    async def listen(self) -> None:
        """Accept connections, unless it does already."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        connection = Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def cut_now(self) -> bool:
        """Whether this reply is the one to cut; passes everything after the last cut."""
        if self.mode.after > 0:
            self.mode.after -= 1
            return False
        self.mode.times -= 1
        if self.mode.times <= 0:
            self.mode = Mode()
        self.counts["cut"] += 1
        return True

    async def handle(self, verb: str, arguments: dict[str, Any]) -> Any:
        """Carry out one command line."""
        if verb == "counts":
            return self.counts
        if verb == "mode":
            self.mode = Mode(**arguments)
        if verb == "disconnect" or self.mode.name == "refuse":
            for connection in list(self._connections):
                connection.close()
        if self.mode.name != "refuse":
            await self.listen()
        elif self._listener is not None:
            self._listener.close()
            self._listener = None
        return None


async def main() -> None:
    """Serve until stdin closes."""
    port, host, target_port = sys.argv[1:4]
    server = ProxyServer(int(port), (host, int(target_port)))
    await server.listen()
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    answer: Any = None
    while True:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if not (line := await commands.readline()):
            return
        arguments = json.loads(line)
        answer = await server.handle(arguments.pop("verb"), arguments)


if __name__ == "__main__":
    asyncio.run(main())
