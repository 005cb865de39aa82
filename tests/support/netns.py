"""A link between two networks of this machine that can go down without telling either end.

A TCP proxy cannot do that: the connection to it stays up. Here packets vanish, so there is neither
FIN nor RST, and what was written waits in the kernel until the link is up again. It takes root and
``ip``; where that is missing :func:`why_not` says so, and a proxy has to stand in.

Standard library only: programs import it before they patch.
"""

import ctypes
import os
import random
import shutil
import subprocess
from functools import cache

_CLONE_NEWNET = 0x40000000


def enter(name: str) -> None:
    """Move this process into a network namespace."""
    descriptor = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter network namespace {name}")
    finally:
        os.close(descriptor)


@cache
def why_not() -> str:
    """Return why this machine cannot have such a link; empty if it can."""
    if shutil.which("ip") is None:
        return "there is no `ip` command (apt-get install iproute2)"
    try:
        Link().close()
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd)}: {error.stderr.strip()}"
    return ""


class Link:
    """A namespace and its only way out.

    Attributes:
        name: Of the namespace, see :func:`enter`.
        host: Address of this side, which servers bind to.
    """

    def __init__(self) -> None:
        number = random.randrange(1, 60_000)
        self.name = f"pytask-{number}"
        self._device = f"pt{number}a"
        net = f"10.{200 + number // 16_384}.{number // 64 % 256}.{number % 64 * 4}"
        base, _, last = net.rpartition(".")
        self.host, there = f"{base}.{int(last) + 1}", f"{base}.{int(last) + 2}"
        peer = f"pt{number}b"
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._device, "type", "veth", "peer", "name", peer)
            _ip("link", "set", peer, "netns", self.name)
            _ip("addr", "add", f"{self.host}/30", "dev", self._device)
            _ip("-n", self.name, "addr", "add", f"{there}/30", "dev", peer)
            _ip("-n", self.name, "link", "set", peer, "up")
            self.up()
        except BaseException:
            self.close()
            raise

    def up(self) -> None:
        """Let packets pass (again)."""
        _ip("link", "set", self._device, "up")

    def down(self) -> None:
        """Let all packets vanish."""
        _ip("link", "set", self._device, "down")

    def close(self) -> None:
        """Remove the namespace; the link goes with it."""
        _ip("netns", "delete", self.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
