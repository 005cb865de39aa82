"""Network zones: one process sees all servers through proxies of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import process
from tests.support.ports import free_port, release_port

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"


class Zone:
    """The network as the processes of one place see it.

    Args:
        targets: Host and port of each server.
        host: Where its processes reach the proxies.
    """

    def __init__(self, targets: list[tuple[str, int]], host: str = HOST) -> None:
        self.host = host
        self.ports = [free_port() for _ in targets]
        words = [
            f"{host}:{port}:{server}:{target}"
            for port, (server, target) in zip(self.ports, targets, strict=True)
        ]
        self._process = process.spawn(
            [sys.executable, "-m", "tests.chaos.zone_process", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._answer()

    def mode(self, name: str, node: int | None = None, **arguments: Any) -> None:
        """Switch the network: ``pass``, ``cut``, ``swallow``, ``drop``, ``hole``, ``refuse``, …"""
        self._call("mode", node=node, name=name, **arguments)

    def disconnect(self) -> None:
        """Reset all connections that exist now."""
        self._call("disconnect")

    def counts(self) -> list[dict[str, int]]:
        found: list[dict[str, int]] = self._call("counts")
        return found

    def close(self) -> None:
        process.end(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        for port in self.ports:
            release_port(port)

    def _call(self, verb: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process of a network zone ended")
        return json.loads(line)
