"""The program that executes tasks in a process of its own; started by the pool of a worker.

The main thread executes one task after another. A native thread reads what the worker sends, and
ends the process when nobody can send any more. Everything here takes what it needs of the standard
library before the module of a task is imported, which may patch it.
"""

from __future__ import annotations

import _queue
import ctypes
import importlib
import logging
import os
import signal
import sys
import types
from _thread import allocate_lock, get_ident, start_new_thread
from contextlib import nullcontext, suppress
from typing import Any

from pytask import exceptions
from pytask.concurrency import modes
from pytask.concurrency.frames import FrameReader, pack
from pytask.concurrency.making import make_instance
from pytask.exceptions import ConfigurationError, PyTaskException, StopTask, UnfitTask
from pytask.http_clients import make_client
from pytask.policy import Policy
from pytask.settings import Settings
from pytask.shell import CommandResult, run_here
from pytask.states import State
from pytask.task import Retry
from pytask.worker import outcomes
from pytask.worker.outcomes import encode_result, judge

_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16
#: The descriptor of the socket to the worker.
_CHANNEL = 3
#: The name under which the program of the worker is imported.
_MAIN = "__pytask_main__"


class Child:
    """This process.

    Args:
        descriptor: The socket to the worker.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sending = allocate_lock()
        self._tasks: Any = _queue.SimpleQueue()
        self._answers: dict[int, list[Any]] = {}
        self._bells: dict[int, Any] = {}
        self._number = 0
        self._main: Any = None
        self._run: _Run | None = None
        self._interruptible = False
        #: The main thread is in the middle of a message, where it must not be interrupted.
        self._is_writing = False
        #: The worker wants the end of the task; no other one follows.
        self._asked = False
        self._main_thread = get_ident()
        self._http: Any = None

    def serve(self) -> None:
        """Execute tasks until the worker closes the connection."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        logging.getLogger().addHandler(_LogHandler(self))
        start_new_thread(self._read, ())
        while True:
            self._execute(self._tasks.get())

    def send(self, message: list[Any]) -> None:
        """Send a message to the worker; it waits while the worker does not read."""
        left = memoryview(pack(message))
        is_main = get_ident() == self._main_thread
        with self._sending:
            self._is_writing = is_main
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
            finally:
                self._is_writing = False
        if is_main:
            self._obey()

    def ask(self, target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Have the worker do something, and wait for its answer.

        Raises:
            TypeError: An argument cannot be sent.
            Exception: What the worker answers.
        """
        bell = allocate_lock()
        bell.acquire()
        with self._sending:
            self._number += 1
            number = self._number
        self._bells[number] = bell
        try:
            self.send(["ask", number, target, name, list(args), kwargs])
            bell.acquire()
            kind, value = self._answers.pop(number)
        finally:
            self._bells.pop(number, None)
        if kind == "error":
            raise _error_of(*value)
        return Asked(self, ["future", value]) if kind == "future" else value

    @property
    def http(self) -> Any:
        if self._http is None:
            self._http = make_client()
        return self._http

    # The thread that reads

    def _read(self) -> None:
        reader = FrameReader()
        with suppress(OSError):
            while piece := os.read(self._descriptor, _CHUNK):
                for message in reader.feed(piece):
                    self._take(*message)
        # The worker has closed the connection, or is dead.
        os._exit(0)

    def _take(self, kind: str, *rest: Any) -> None:
        if kind == "hello":
            # The program may read it where it makes its app.
            sys.argv[:] = rest[0]["argv"]
            self._main = rest[0]["main"]
            logging.getLogger().setLevel(rest[0]["level"])
        elif kind == "task":
            # Here, so that a stop that comes next finds it.
            self._run = _Run(self, rest[0])
            self._tasks.put(self._run)
        elif kind == "stop":
            start_new_thread(self._stop, (self._run,))
        elif kind == "answer":
            number, *answer = rest
            bell = self._bells.get(number)
            if bell is not None:
                self._answers[number] = answer
                bell.release()

    def _stop(self, run: _Run | None) -> None:
        trouble = None
        try:
            if run is not None:
                run.stopping = True
                if run.instance is not None:
                    run.instance.stop()
        except BaseException as error:
            trouble = f"{type(error).__name__}: {error}"
        self.send(["stop_ended", trouble])

    # The main thread

    def _on_sigterm(self, *_: object) -> None:
        # It may come before the task does, to a process that was frozen.
        self._asked = True
        if not self._is_writing:
            self._obey()

    def _obey(self) -> None:
        """Interrupt the task if that is wanted and has not been done."""
        if self._asked and self._interruptible:
            self._interruptible = False
            if self._run is not None:
                self._run.stopping = True
            raise StopTask

    def _execute(self, run: _Run) -> None:
        task, settings = run.task, run.settings
        task_class: Any = None
        try:
            self._interruptible = True
            self._obey()
            task_class = find_class(task["module"], task["class"], self._main)
            value = self._live(run, task_class)
            self._interruptible = False
            message: list[Any] = ["done", encode_result(task["task"], value, settings)]
        except BaseException as error:
            self._interruptible = False
            message = ["failed", describe(error, task_class, settings)]
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        self._run = None
        self.send(message)

    def _live(self, run: _Run, task_class: Any) -> Any:
        provide_context = getattr(task_class, "provide_context", nullcontext)
        with provide_context():
            instance = make_instance(task_class, run, run.task["task"], run.task["data"])
            run.instance = instance
            if run.stopping:
                # By a stop that may have come before there was an instance.
                raise StopTask
            return instance.start()


class _Run:
    """The run, as the instance of its task knows it."""

    def __init__(self, child: Child, task: dict[str, Any]) -> None:
        self.task = task
        self.settings = Settings(serializer=task["serializer"], max_output_bytes=task["max_output"])
        self.task_id = task["id"]
        self.token = task["token"]
        self.attempt = task["attempt"]
        self.is_over = False
        self.stopping = False
        self.instance: Any = None
        self.environment = _Place(child, self.settings)


class _Place:
    """What the task is given: the worker's Redis and helpers, from afar."""

    def __init__(self, child: Child, settings: Settings) -> None:
        self._child = child
        self.store = Asked(child, "store")
        self.store.settings = settings

    def __getattr__(self, name: str) -> Asked:
        return Asked(self._child, name)

    @property
    def http(self) -> Any:
        return self._child.http

    def shell(self, command: Any, options: dict[str, Any]) -> CommandResult:
        return run_here(command, **options)


class Asked:
    """Something of the worker, whose methods it executes.

    Args:
        child: This process.
        target: What the worker calls it.
    """

    #: Of the store: known here as well.
    settings: Settings

    def __init__(self, child: Child, target: Any) -> None:
        self._child = child
        self._target = target

    @property
    def id(self) -> Any:
        """The ID of the task that a future is about."""
        return self._target[1]

    @property
    def state(self) -> Any:
        """The state of that task."""
        found = self._child.ask(self._target, "state", (), {})
        return None if found is None else State(found)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._child.ask(self._target, name, args, kwargs)

        return call


class _LogHandler(logging.Handler):
    """Sends log records to the worker."""

    def __init__(self, child: Child) -> None:
        super().__init__()
        self._child = child

    def createLock(self) -> None:
        # The sending has one of its own, and this one would be patched later.
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info:
                text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
            self._child.send(["log", {"name": record.name, "level": record.levelno, "text": text}])
        except Exception:
            self.handleError(record)


def find_class(module: str, qualified: str, main: Any) -> Any:
    """Import a task class.

    Args:
        module: Its module.
        qualified: Its name in there.
        main: Where the program of the worker is: a path, or ``["module", name]``.

    Raises:
        ConfigurationError: It cannot be found there.
    """
    found: Any = _main_module(main) if module == "__main__" else importlib.import_module(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    # A function that is a task stands where the class is named after it.
    found = getattr(found, "task_class", found)
    if not isinstance(found, type):
        raise ConfigurationError(
            f"{module}.{qualified} cannot be imported from another process; concurrency='process' "
            "needs a class or function at the top level of a module"
        )
    return found


def _main_module(main: Any) -> Any:
    if isinstance(main, list):
        return importlib.import_module(main[1])
    if _MAIN not in sys.modules:
        module = types.ModuleType(_MAIN)
        module.__file__ = main
        sys.modules[_MAIN] = sys.modules["__main__"] = module
        try:
            with open(main, "rb") as file:
                exec(compile(file.read(), main, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[_MAIN]
            raise
    return sys.modules[_MAIN]


def describe(error: BaseException, task_class: Any, settings: Settings) -> dict[str, Any]:
    """Return what the worker has to know of an exception."""
    state, output = judge(error, task_class, settings)
    worth: tuple[type[BaseException], ...] = (Retry,)
    with suppress(ConfigurationError):
        if task_class is not None:
            worth = (Retry, *Policy.of_class(task_class).retry_on)
    return {
        "state": state.value,
        "output": output,
        "text": f"{type(error).__name__}: {error}"[:1000],
        "again": isinstance(error, worth) and not isinstance(error, UnfitTask),
        "delay": getattr(error, "delay", None) if isinstance(error, Retry) else None,
        "about": outcomes.describe(error, state, settings.max_output_bytes),
    }


def _error_of(name: str, text: str) -> BaseException:
    known = getattr(exceptions, name, None)
    with suppress(TypeError):
        if isinstance(known, type) and issubclass(known, BaseException):
            return known(text)
    return PyTaskException(f"{name}: {text}")


def main(worker: int) -> None:
    """Be the child process of a worker.

    Args:
        worker: Process ID of the worker.
    """
    os.set_inheritable(_CHANNEL, False)
    os.set_blocking(_CHANNEL, True)
    modes.in_child = True
    if sys.platform == "linux":
        # For code that holds the interpreter, so that the thread which reads cannot see the end.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)
    Child(_CHANNEL).serve()
