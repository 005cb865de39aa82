"""The child processes of a worker: started when needed, one task at a time, replaced when spent."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from pytask.concurrency.commands import Program, chunks_of, describe_end
from pytask.concurrency.door import Ticket
from pytask.concurrency.frames import FrameReader, pack
from pytask.concurrency.interrupt import end_here
from pytask.exceptions import ChildDied, LeaseLost, TaskStateError
from pytask.future import TaskFuture
from pytask.task import asked_by
from pytask.worker.outcomes import ChildError

logger = logging.getLogger("pytask.child")

#: Not PYTHONPATH, which whatever a task starts would see as well.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from pytask.concurrency.child import main; main(int(sys.argv[1]))"
)
_CHUNK = 1 << 16
#: A line that is longer is logged in parts.
_LONGEST_LINE = 1 << 16
#: Seconds a child without a task has to end by itself.
_PATIENCE = 1.0


class ChildProcess:
    """One child, from its start to its end.

    Args:
        on_end: Told that it has ended.
    """

    def __init__(self, on_end: Callable[[ChildProcess], object]) -> None:
        #: A forked copy of the worker must leave it alone.
        self._pid = os.getpid()
        self._on_end = on_end
        #: All that read from it or do something for it.
        self._greenlets = Group()
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs, open(os.devnull) as nothing:
            self._program = Program(
                [sys.executable, "-c", _PROGRAM, str(self._pid), json.dumps(sys.path)],
                stdin=nothing.fileno(),
                channel=theirs.fileno(),
            )
        self._sending = BoundedSemaphore(1)
        self._ticket: Ticket | None = None
        self._stop_ticket: Ticket | None = None
        self._bound: Any = None
        self._label = f"child process {self._program.pid}"
        #: It was interrupted: a signal may still be under way to it, so no task follows.
        self.is_spent = False
        level = logging.getLogger().getEffectiveLevel()
        main = _main_program()
        hello = {"argv": sys.argv, "main": main, "level": level}
        self._reader = self._greenlets.spawn(self._read)
        self._outputs = [
            _Output(self._program.out, logging.INFO, self._say, self._greenlets),
            _Output(self._program.err, logging.WARNING, self._say, self._greenlets),
        ]
        self._greenlets.spawn(self._watch)
        self._send(["hello", hello])

    @property
    def pid(self) -> int:
        return self._program.pid

    def execute(self, task: dict[str, Any], bound: Any) -> Ticket:
        """Send a task; the ticket is settled with its output, encoded, or its error."""
        self._bound = bound
        self._label = f"task {bound.task_id}"
        self._ticket = ticket = Ticket()
        if self._program.has_ended:
            ticket.settle(None, self._obituary())
        else:
            self._send(["task", task])
        return ticket

    def stop(self) -> None:
        """Have ``stop`` of the task called, and wait until it is over.

        Raises:
            TaskStateError: It failed.
        """
        if self._program.has_ended:
            return  # and the task with it
        self._stop_ticket = ticket = Ticket()
        self._send(["stop"])
        ticket.wait()

    def interrupt(self, firmly: bool) -> None:
        """End the task: by SIGTERM, which raises ``StopTask`` in it; firmly: by SIGKILL."""
        self.is_spent = True
        if firmly:
            self._program.kill_group()
        else:
            self._program.signal(15)

    def release(self) -> None:
        """Forget the task; if it has not ended, because something went wrong, end it."""
        if self._is_busy(self._ticket):
            self.interrupt(True)
        elif self._is_busy(self._stop_ticket):
            # A stop() that hangs in there would be in the way of the next task's.
            self.is_spent = True
        self._ticket = self._bound = None
        self._label = f"child process {self._program.pid}"

    @property
    def is_usable(self) -> bool:
        return not self.is_spent and self._program.is_alive

    def dismiss(self) -> None:
        """End it: without a task by itself, otherwise by force. Does not wait."""
        if os.getpid() != self._pid:
            return
        if self._is_busy(self._ticket):
            self._program.kill_group()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        gevent.spawn_later(_PATIENCE, self._program.kill_group)

    def fall_silent(self) -> None:
        """Take nothing that it sends: this is a forked copy of the worker."""
        for greenlet in list(self._greenlets):
            end_here(greenlet)
        # So that the child sees the end of the worker even if the copy goes on.
        self._socket.close()

    def wait(self, seconds: float) -> None:
        """Wait for its end, then make sure of it."""
        if self._program.wait(seconds) is None:
            self._program.kill_group()
            self._program.wait(seconds)

    def _is_busy(self, ticket: Ticket | None) -> bool:
        return ticket is not None and not ticket.is_settled and os.getpid() == self._pid

    def _send(self, message: list[Any]) -> None:
        with self._sending:
            try:
                self._socket.sendall(pack(message))
            except OSError:
                pass  # its death is seen by whoever waits for it
            except BaseException:
                # Interrupted: it would take whatever comes next for the rest of this message.
                self.interrupt(True)
                raise

    def _read(self) -> None:
        frames = FrameReader()
        try:
            while piece := self._socket.recv(_CHUNK):
                for message in frames.feed(piece):
                    self._take(*message)
                # It may send faster than all that is logged.
                gevent.sleep(0)
        except OSError:
            pass
        except Exception:
            # It would wait for ever for somebody who reads.
            logger.exception("%s sent what no child sends; it is killed", self._label)
            self.interrupt(True)

    def _take(self, kind: str, *rest: Any) -> None:
        if kind == "log":
            self._log(**rest[0])
        elif kind == "ask":
            self._greenlets.spawn(self._answer, self._bound, *rest)
        elif kind == "stop_ended" and self._stop_ticket is not None:
            error = TaskStateError(rest[0]) if rest[0] is not None else None
            self._stop_ticket.settle(None, error)
        elif kind in ("done", "failed") and self._ticket is not None:
            # What the task has written is in the pipes by now, and belongs to it.
            for output in self._outputs:
                output.drain()
            if kind == "done":
                self._ticket.settle(rest[0], None)
            else:
                self._ticket.settle(None, ChildError(**rest[0]))

    def _answer(
        self, bound: Any, number: int, target: Any, name: str, args: list[Any], kwargs: Any
    ) -> None:
        try:
            if bound is None or bound.is_over:
                raise LeaseLost(f"{name}() was not carried out: the run that asked for it is over")
            asked_by.set(bound.task_id)
            found = getattr(_target_of(bound.environment, target), name)
            value = found(*args, **kwargs) if callable(found) else found
            if isinstance(value, TaskFuture):
                answer = ["answer", number, "future", value.id]
            else:
                answer = ["answer", number, "value", value]
                pack(answer)
        except Exception as error:
            answer = ["answer", number, "error", [type(error).__name__, str(error)]]
        self._send(answer)

    def _log(self, name: str, level: int, text: str) -> None:
        target = logging.getLogger(name)
        if target.isEnabledFor(level):
            target.log(level, "%s: %s", self._label, text)

    def _say(self, level: int, line: str) -> None:
        logger.log(level, "%s: %s", self._label, line)

    def _watch(self) -> None:
        self._program.wait()
        # What it sent last is still to be read; what it started may hold the socket open.
        self._reader.join(_PATIENCE)
        self._reader.kill()
        for output in self._outputs:
            output.close()
        self._program.close()
        self._socket.close()
        for ticket in (self._ticket, self._stop_ticket):
            if ticket is not None:
                ticket.settle(None, self._obituary())
        self._on_end(self)

    def _obituary(self) -> ChildDied:
        code = self._program.wait()
        return ChildDied(
            f"the child process (pid {self.pid}) that ran it {describe_end(code or 0)}; only this "
            "task is affected"
        )


class _Output:
    """Logs what a child writes to one of its outputs, line by line."""

    def __init__(
        self, descriptor: int, level: int, say: Callable[[int, str], None], greenlets: Group
    ) -> None:
        self._descriptor = descriptor
        self._level = level
        self._say = say
        self._rest = b""
        self._greenlet = greenlets.spawn(self._follow)

    def drain(self) -> None:
        """Log what there is."""
        with suppress(BlockingIOError):
            while piece := os.read(self._descriptor, _CHUNK):
                self._feed(piece)
        if self._rest:
            self._feed(b"\n")

    def close(self) -> None:
        self._greenlet.kill()
        self.drain()

    def _follow(self) -> None:
        for piece in chunks_of(self._descriptor):
            self._feed(piece)

    def _feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._say(self._level, line.decode(errors="replace"))


def _target_of(environment: Any, target: Any) -> Any:
    if isinstance(target, list):
        return environment.helpers.future(target[1])
    return getattr(environment, target)


def _main_program() -> Any:
    """Return where a child finds what is ``__main__`` here."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return ["module", spec.name]
    path = getattr(main, "__file__", None)
    return None if path is None else os.path.abspath(path)
