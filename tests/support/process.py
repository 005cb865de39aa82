"""Start processes that cannot outlive the test run.

A fixture's clean-up does not run when pytest itself is killed. On Linux the
kernel is therefore asked to kill each child when its parent dies.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child must not import or load libraries.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _die_with(parent: int) -> None:
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died between the fork and the call above
        os._exit(1)


def bare_environment() -> dict[str, str]:
    """Return our environment without what makes Python programs measure their coverage.

    Coverage imports gevent and others before the first line of a program, which matters to tests
    of what a program imports.
    """
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}


def spawn(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that is killed when this one dies.

    Call it from the main thread: the kernel watches the thread that forked.

    Args:
        arguments: The command line.
        options: Passed to ``subprocess.Popen``.

    Returns:
        The running process; the caller stops it.
    """
    parent = os.getpid()
    return subprocess.Popen(list(arguments), preexec_fn=lambda: _die_with(parent), **options)


def end(process: subprocess.Popen[bytes], patience: float = 5.0) -> int:
    """Terminate a process, then kill it if it does not go.

    Args:
        process: Running, paused or already ended.
        patience: Seconds between SIGTERM and SIGKILL.

    Returns:
        Its exit status.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
