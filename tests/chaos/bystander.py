"""Writes to one shard of a cluster without pytask, and tells the history when that stood still.

Usage: python -m gevent.monkey --module tests.chaos.bystander CONFIG KIND

KIND 0 is a bare redis-py cluster client, as it comes. KIND 1 asks the two nodes of the shard in
turn and takes whichever accepts the write: what remains then is the pause of the servers.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from tests.chaos.history import Recorder
from tests.support.clients import no_retries

KINDS = ("redis-py", "servers")
#: Seconds between two writes, and from which on a gap is worth telling.
PAUSE = 0.002
NOTEWORTHY = 0.02


def through_client(config: dict[str, Any]) -> Callable[[], Any]:
    """Return a write through redis-py's cluster client."""
    host, port = config["nodes"][0]
    client: Any = redis.RedisCluster(host=host, port=port)
    return lambda: client.set(config["key"], "1")


def past_client(config: dict[str, Any]) -> Callable[[], Any]:
    """Return a write that tries the nodes of the shard until one takes it."""
    nodes: list[Any] = [
        redis.Redis(host=host, port=port, **no_retries()) for host, port in config["nodes"]
    ]

    def write() -> None:
        while True:
            try:
                nodes[0].set(config["key"], "1")
                return
            except redis.RedisError:
                nodes.append(nodes.pop(0))
                time.sleep(PAUSE / 2)

    return write


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text())
    kind = int(sys.argv[2])
    record = Recorder(config["directory"], f"bystander{kind}")
    write = (through_client, past_client)[kind](config)
    write()
    record("ready", kind=KINDS[kind])
    last = time.monotonic()
    while True:
        try:
            write()
        except redis.RedisError as error:
            record("refused", kind=KINDS[kind], error=str(error)[:80])
            continue
        now = time.monotonic()
        if now - last > NOTEWORTHY:
            record("gap", kind=KINDS[kind], seconds=now - last)
        last = now
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
