"""Runs Python code that comes with the task. Off unless an app adds these classes itself.

Whoever can write to Redis can start a task. With one of these registered, they can run any code
with the rights of the worker; without, only what the app has chosen to offer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pytask.exceptions import CommandFailed
from pytask.task import Task


class ExecutePython(Task):
    """Runs Python code in a child process; its result is what it leaves in ``result``.

    The code sees its arguments as variables, and the running task as ``task``. What it prints goes
    to the log of the worker.

    Args:
        code: The code.
        arguments: Its variables.
    """

    NAME = "execute.python"
    CONCURRENCY = "process"

    def __init__(self, code: str, arguments: Mapping[str, Any] | None = None) -> None:
        self.code = code
        self.arguments = dict(arguments or {})

    def start(self) -> Any:
        names = {"__name__": "__execute__", "task": self, **self.arguments}
        exec(compile(self.code, f"<task {self.id}>", "exec"), names)
        return names.get("result")


class ExecutePythonScript(Task):
    """Runs a Python script as a program of its own.

    Args:
        path: Where the script is, on the worker.
        args: Its command line.
        env: Added to its environment.

    Its output is an object with ``out`` and ``err``, what it wrote.
    """

    NAME = "execute.python.script"

    def __init__(
        self, path: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.args = [str(one) for one in args]
        self.env = env

    def start(self) -> dict[str, str]:
        if not os.path.isfile(self.path):
            raise self.Error(f"there is no script {self.path}")
        try:
            done = self.shell([sys.executable, self.path, *self.args], env=self.env)
        except CommandFailed as error:
            raise self.Error(str(error)) from None
        return {"out": done.out, "err": done.err}
