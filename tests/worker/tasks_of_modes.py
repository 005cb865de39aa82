"""One task for each mode and behaviour; at the top level, where child processes find them."""

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent

from pytask import Retry, Task, current_task

#: What happened in this process.
happened: list[str] = []


class Common(Task):
    ABSTRACT = True

    def __init__(self, what: str = "return", note: str = "") -> None:
        self.what = what
        self.note = note

    def tell(self, text: str) -> None:
        """Say something to the test, from any process."""
        with Path(self.note).open("a") as file:
            file.write(f"{text}\n")


class Blocking(Common):
    """Does the same in every mode that blocks."""

    ABSTRACT = True
    sleep: ClassVar[Any]

    def start(self) -> Any:
        return getattr(self, self.what)()

    def return_(self) -> dict[str, Any]:
        assert current_task() is self
        return {"attempt": self.attempt, "pid": os.getpid()}

    def error(self) -> None:
        raise self.Error("expected", 3)

    def raise_(self) -> None:
        raise ValueError("boom")

    def retry(self) -> str:
        if self.attempt == 1:
            raise Retry("later", delay=0.01)
        return f"attempt {self.attempt}"

    def says(self) -> None:
        self.emit("said", {"by": self.id})

    def uses(self) -> list[Any]:
        self.redis.set(self.note, "here")
        future = self.helpers.submit("other")
        assert future.wait(30) == "SUCCESS"
        return [str(self.redis.get(self.note)), future.result()]

    def shells(self) -> list[Any]:
        done = self.shell("echo out; echo err >&2; exit 3", check=False)
        return [done.code, done.out, done.err, self.shell(["echo", "a  b"]).out]

    def sleeps(self) -> None:
        self.tell("began")
        try:
            self.wait()
        finally:
            self.tell("left")

    def runs_long(self) -> None:
        self.shell(f"echo began >> {self.note}; sleep 600 & sleep 600")

    def wait(self) -> None:
        time.sleep(600)


class InGreenlet(Blocking):
    NAME = "greenlet"
    MAX_RETRIES = 1
    RETRY_ON = ()


class InThread(InGreenlet):
    NAME = "thread"
    CONCURRENCY = "thread"

    def wait(self) -> None:
        while not self.should_stop():
            time.sleep(0.01)


class InProcess(InGreenlet):
    NAME = "process"
    CONCURRENCY = "process"

    def dies(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def exits(self) -> None:
        os._exit(3)

    def talks(self) -> None:
        logging.getLogger("of.child").warning("%s", "x" * 300_000)
        sys.stdout.write("y" * 30_000 + "\n")
        sys.stderr.write("z" * 200_000 + "\n")
        for number in range(2_000):
            sys.stdout.write(f"line {number}\n")

    def floods(self) -> None:
        self.tell("began")
        while True:
            self.redis.set(self.note, "x" * 1_000_000)

    def scribbles(self) -> None:
        os.write(3, b"\xff" * 8)
        time.sleep(600)

    def ignores(self) -> None:
        self.tell("began")
        while True:
            try:
                time.sleep(600)
            except BaseException:
                self.tell("swallowed")


class OnLoop(Common):
    NAME = "asyncio"
    MAX_RETRIES = 1
    RETRY_ON = ()

    async def start(self) -> Any:
        return await getattr(self, self.what)()

    async def return_(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        assert current_task() is self
        return {"attempt": self.attempt, "pid": os.getpid()}

    async def error(self) -> None:
        raise self.Error("expected", 3)

    async def raise_(self) -> None:
        raise ValueError("boom")

    async def retry(self) -> str:
        if self.attempt == 1:
            raise Retry("later", delay=0.01)
        return f"attempt {self.attempt}"

    async def says(self) -> None:
        await self.emit("said", {"by": self.id})

    async def uses(self) -> list[Any]:
        await self.redis.set(self.note, "here")
        future = await self.helpers.submit("other")
        assert await future.wait(30) == "SUCCESS"
        return [str(await self.redis.get(self.note)), await future.result()]

    async def shells(self) -> list[Any]:
        done = await self.shell("echo out; echo err >&2; exit 3", check=False)
        return [done.code, done.out, done.err, (await self.shell(["echo", "a  b"])).out]

    async def sleeps(self) -> None:
        self.tell("began")
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.01)
            self.tell("left")

    async def runs_long(self) -> None:
        await self.shell(f"echo began >> {self.note}; sleep 600 & sleep 600")

    async def suppresses(self) -> None:
        self.tell("began")
        for _ in range(3):
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                self.tell("swallowed")

    async def exits(self) -> None:
        raise SystemExit(3)

    async def threads(self) -> str:
        return await asyncio.to_thread(lambda: "in a thread")

    async def talks_to(self) -> str:
        host, port = self.note.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.decode().splitlines()[0]

    async def fetches(self) -> str:
        answer = await self.http.get(self.note)
        return str(answer.text)


for _name in ("return", "raise"):
    setattr(Blocking, _name, getattr(Blocking, f"{_name}_"))
    setattr(OnLoop, _name, getattr(OnLoop, f"{_name}_"))


class Other(Task):
    NAME = "other"

    def start(self) -> str:
        return "the other's result"


class StubbornThread(Task):
    """A thread that takes no notice until it is let go."""

    NAME = "stubborn-thread"
    CONCURRENCY = "thread"
    go = False

    def start(self) -> None:
        happened.append("began")
        while not type(self).go:
            time.sleep(0.01)
        happened.append("ended")


class Polite(Common):
    """Has a ``stop``, which lets ``start`` return by itself."""

    ABSTRACT = True
    asked = False

    def stop(self) -> None:
        self.tell("stop")
        self.asked = True


class PoliteThread(Polite):
    NAME = "polite-thread"
    CONCURRENCY = "thread"

    def start(self) -> dict[str, int]:
        self.tell("began")
        while not self.asked:
            time.sleep(0.01)
        return {"offset": 17}


class PoliteProcess(PoliteThread):
    NAME = "polite-process"
    CONCURRENCY = "process"


class LingersProcess(PoliteThread):
    """Its ``stop`` goes on for a while after ``start`` has returned."""

    NAME = "lingers-process"
    CONCURRENCY = "process"

    def stop(self) -> None:
        super().stop()
        while "may end" not in Path(self.note).read_text():
            time.sleep(0.01)
        self.tell("stop ended")


class PoliteCoroutine(Common):
    NAME = "polite-asyncio"

    async def start(self) -> dict[str, int]:
        self.asked = asyncio.Event()
        self.tell("began")
        await self.asked.wait()
        return {"offset": 17}

    async def stop(self) -> None:
        self.tell("stop")
        self.asked.set()


class Fetches(Common):
    NAME = "fetches"

    def start(self) -> str:
        return str(self.http.get(self.note).text)


class FetchesInThread(Fetches):
    NAME = "fetches-thread"
    CONCURRENCY = "thread"


class FetchesInProcess(Fetches):
    NAME = "fetches-process"
    CONCURRENCY = "process"


class Doubles(Task):
    NAME = "doubles"
    CONCURRENCY = "process"

    def __init__(self, value: bytes) -> None:
        self.value = value

    def start(self) -> bytes:
        return self.value * 2


class Many(Task):
    """Ten thousand of these are under way at once."""

    NAME = "many"
    under_way = 0
    gate: ClassVar[Any] = None

    async def start(self) -> None:
        Many.under_way += 1
        try:
            while not Many.gate:
                await asyncio.sleep(0.2)
        finally:
            Many.under_way -= 1


class Blocks(Task):
    """Blocks its thread, and the hub does not notice."""

    NAME = "blocks"
    CONCURRENCY = "thread"

    def start(self) -> None:
        gevent.monkey.get_original("time", "sleep")(0.5)


EACH = [InGreenlet, InThread, InProcess, OnLoop]
