"""Forks the processes that are to die: that costs milliseconds, starting Python half a second.

``python -m tests.crashpoints.zygote URL DIRECTORY``; one JSON request per line on stdin, one
answer per line on stdout.
"""

# ruff: noqa: E402  (patching has to come before the imports below it)
from gevent import monkey

monkey.patch_all()

import ctypes
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import gevent

from tests.chaos import audit
from tests.chaos.history import Recorder
from tests.crashpoints import roles
from tests.crashpoints.hooks import Target, dies_at, install

_fork = monkey.get_original("os", "fork")
_waitpid = monkey.get_original("os", "waitpid")


def main() -> None:
    url, directory = sys.argv[1:]
    audit.install()
    # Found once, before the forks.
    roles.hurry_monitors()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["verb"] == "spawn":
            answer: Any = spawn(url, directory, request)
        elif request["verb"] == "kill":
            os.kill(request["pid"], signal.SIGKILL)
            answer = None
        else:
            answer = ended()
        os.write(1, json.dumps(answer).encode() + b"\n")


def ended() -> list[tuple[int, int]]:
    """Return pid and wait status of each child that has ended since the last call."""
    found = []
    while True:
        try:
            pid, status = _waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        found.append((pid, status))


def spawn(url: str, directory: str, request: dict[str, Any]) -> int:
    """Fork a child and return its pid."""
    parent = os.getpid()
    pid = int(_fork())
    if pid:
        return pid
    code = 1
    try:
        die_with(parent)
        gevent.reinit()
        live(url, directory, request)
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        logging.exception("a child failed")
    finally:
        os._exit(code)


def die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def live(url: str, directory: str, request: dict[str, Any]) -> None:
    """Do what the request says, in the child."""
    log = os.open(Path(directory) / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    logging.basicConfig(
        level=logging.WARNING,
        format=f"%(asctime)s [{os.getpid()}] %(levelname)s %(name)s: %(message)s",
    )
    role = request["role"]
    recorder = Recorder(directory, role.replace(" ", "-"))
    if request.get("record"):
        install(lambda point, phase: recorder("point", point=point, phase=phase, role=role))
    elif request.get("target"):
        install(dies_at(Target(*request["target"]), lambda words: recorder("end", words=words)))
    if role == roles.CLIENT:
        roles.ask(url, recorder)
    else:
        ends_after = request.get("ends_after")
        roles.work(url, recorder, ends_after=ends_after, concurrency=request["concurrency"])


if __name__ == "__main__":
    main()
