"""Runs an embedded server for exactly as long as the process that asked for it lives.

Started as a program by :mod:`pytask.connection.embedded`, standard library only. Its standard
input is a pipe that nobody writes to: when the starter ends, even by ``kill -9``, the pipe
closes, and the server is ended and its socket removed. Arguments: the private directory with the
socket, the lock file of the data directory (or ``-``), and the command of the server.

Who decides: the lock. It is inherited by the server, so no second server can open the same data
before the first one is really gone, even if this program is killed.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def main(private_directory: str, lock_path: str, command: "list[str]") -> int:
    """Run ``command`` until standard input closes or it ends by itself."""
    inherited = []
    if lock_path != "-":
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Waits for a server that is still saving its data.
        fcntl.flock(lock, fcntl.LOCK_EX)
        inherited.append(lock)
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=inherited,
        preexec_fn=die_with_parent,
    )
    signal.signal(signal.SIGCHLD, lambda *_: os._exit(finish(server, private_directory)))
    if server.poll() is None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return finish(server, private_directory)


def die_with_parent() -> None:
    """Ask the kernel to end the server when this program is killed; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def finish(server: "subprocess.Popen[bytes]", private_directory: str) -> int:
    """End the server, give it time to save, and remove its private directory."""
    with contextlib.suppress(OSError):
        server.terminate()
    try:
        code = server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        code = server.wait()
    shutil.rmtree(private_directory, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
