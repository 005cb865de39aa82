"""Free ports that stay ours.

A port found by binding to 0 lies in the range the kernel hands to outgoing
connections: while a server is down for a restart, somebody's connection may
take it, or a client that keeps reconnecting may even connect to itself. Ports
here come from below that range and are held by a lock file, so that test
processes running side by side never pick the same one.
"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_FIRST = 12_000
_LAST = 32_000
_locks: dict[int, int] = {}
_directory = Path(tempfile.gettempdir()) / f"pytask-test-ports-{os.getuid()}"


def free_port(*, companion: int = 0) -> int:
    """Reserve a loopback port until this process ends.

    Args:
        companion: Reserve the port so much higher, too: by default the bus of a
            cluster node is 10,000 above its port.

    Returns:
        A port nobody listens on and no other test process will be given.

    Raises:
        RuntimeError: When a few hundred tries found none.
    """
    _directory.mkdir(exist_ok=True)
    for _ in range(500):
        port = random.SystemRandom().randrange(_FIRST, _LAST - companion)
        if _lock(port):
            if not companion or _lock(port + companion):
                return port
            release_port(port)
    raise RuntimeError(f"no free port between {_FIRST} and {_LAST}")


def release_port(port: int) -> None:
    """Let other test processes have the port again."""
    descriptor = _locks.pop(port, None)
    if descriptor is not None:
        os.close(descriptor)


def _lock(port: int) -> bool:
    if port in _locks:
        return False
    descriptor = os.open(_directory / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        os.close(descriptor)
        return False
    _locks[port] = descriptor
    return True
