"""Record what happens when a worker is killed; the transcript in README.md came from here.

    .venv/bin/python docs/kill_a_worker.py

Starts a server of its own and two workers in a temporary directory, types the commands below into
a terminal of its own, and prints them with what they wrote. Nothing is edited.
"""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytask.connection import Connector

Process = subprocess.Popen[bytes]

ROOT = Path(__file__).parents[1]

#: Exit status when the tasks did not happen to be two for each worker: record it again.
UNEVEN = 3

TASKS = """
from gevent import monkey

monkey.patch_all()

import time

from pytask import PyTask, Task


class Count(Task):
    NAME = "hello/count"

    def start(self):
        number = 0
        while True:
            number += 1
            time.sleep(1)


app = PyTask("redis://localhost:6379/0")
app.add_task(Count)
"""


class Terminal:
    """Runs commands as a person would, and prints both sides.

    Args:
        directory: Where the commands run.
        environment: Theirs.
    """

    def __init__(self, directory: str, environment: dict[str, str]) -> None:
        self._directory = directory
        self._environment = environment

    def type(self, command: str) -> None:
        """Run a command on a terminal and print it with its output."""
        say(f"$ {command}")
        reader, writer = pty.openpty()
        with subprocess.Popen(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
        ):
            os.close(writer)
            text = b""
            while piece := _read(reader):
                text += piece
        os.close(reader)
        for line in text.decode().splitlines():
            if line.strip():
                say(line.rstrip())

    def start(self, command: str, log: str, is_ready: Callable[[str], bool]) -> Process:
        """Start a program in the background, with a log, and wait until it works."""
        say(f"$ {command} &")
        path = Path(self._directory, log)
        path.touch()
        program = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
        )
        while not is_ready(path.read_text()):
            if program.poll() is not None:
                raise SystemExit(f"{command} has ended: {path.read_text()}")
            time.sleep(0.05)
        return program


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the last process on the terminal has ended
        return b""


def record(directory: str, server: Connector) -> None:
    """Print the transcript."""
    Path(directory, "tasks.py").write_text(TASKS)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([_commands(directory), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PYTASK_REDIS": str(server.url),
        "COLUMNS": "96",
        "TERM": "dumb",
    }
    terminal = Terminal(directory, environment)
    programs: list[Process] = []
    status = "sleep 1; pytask status | grep -A2 WORKER | cut -f 1,4,8"

    def start(command: str, log: str, is_ready: Callable[[str], bool]) -> None:
        programs.append(terminal.start(command, log, is_ready))

    def is_listening(_: str) -> bool:
        # One pattern of the workers' control, and the one of `events`.
        return int(server.user_client.execute_command("PUBSUB", "NUMPAT")) == 2

    try:
        for name in "ab":
            command = f"pytask worker -A tasks 2> {name}.log"
            start(command, f"{name}.log", lambda text: " takes tasks " in text)
        start("pytask events 'count-*' > events.log", "events.log", is_listening)
        terminal.type("for n in 1 2 3 4; do pytask start hello/count --id count-$n; done")
        terminal.type(status)
        client, pid = server.user_client, programs[0].pid
        workers = [client.hget(f"task-count-{number}", "worker") for number in range(1, 5)]
        if sum(f"-{pid}-" in str(worker) for worker in workers) != 2:
            # Whoever is idle takes a task; that this is two for each is only likely.
            raise SystemExit(UNEVEN)
        terminal.type(f"date +%T; kill -9 {programs[0].pid}")
        terminal.type(
            "until [ $(grep -c 'attempt.:2' events.log) = 2 ]; do sleep 0.1; done; cat events.log"
        )
        terminal.type(status)
    finally:
        for program in programs:
            if program.poll() is None:
                program.send_signal(signal.SIGTERM)
            program.wait()


def _commands(directory: str) -> str:
    """Return a directory with the command ``pytask``, installed or not."""
    folder = Path(directory, "bin")
    folder.mkdir()
    program = folder / "pytask"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pytask "$@"\n')
    program.chmod(0o755)
    return str(folder)


def main() -> None:
    """Record it against a server of its own."""
    sys.path.insert(0, str(ROOT))
    from pytask.connection import connect

    directory = tempfile.mkdtemp(prefix="pytask-kill-")
    connector = connect("local://")
    try:
        record(directory, connector)
    finally:
        connector.close()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
