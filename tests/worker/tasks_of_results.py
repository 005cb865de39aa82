"""Tasks whose ends are looked at; at the top level, where child processes find them."""

from typing import Any, ClassVar

import gevent

from pytask import Retry, Task, current_task


class NoStock(Exception):
    """What a caller may know by its class; it takes two arguments."""

    def __init__(self, item: str, left: int) -> None:
        super().__init__(f"{item}: {left} left")


class SoldOut(NoStock):
    """Derived from it."""


class Common(Task):
    ABSTRACT = True

    def __init__(self, what: str = "value", **data: Any) -> None:
        self.what = what
        self.data = data

    def start(self) -> Any:
        return getattr(self, self.what)(**self.data)

    def value(self, value: Any = 5) -> Any:
        return value

    def error(self) -> None:
        raise self.Error("expected", 3)

    def sold_out(self) -> None:
        raise SoldOut("tea", 0)

    def os_error(self) -> None:
        raise FileNotFoundError(2, "gone", "/x")

    def group(self) -> None:
        raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])

    def gives_up(self) -> None:
        raise Retry("no answer")

    def waits(self) -> None:
        gevent.sleep(600)

    def parent(self) -> list[str]:
        one = self.helpers.submit("in-greenlet", cleanup=False).id
        return [one, *self.helpers.start_tasks([{"task": "in-greenlet", "cleanup": False}] * 2)]

    def who(self) -> list[Any]:
        self.emit("said", 1)
        return [current_task() is self, self.id, self.attempt]


class InGreenlet(Common):
    NAME = "in-greenlet"


class InThread(Common):
    NAME = "in-thread"
    CONCURRENCY = "thread"


class InProcess(Common):
    NAME = "in-process"
    CONCURRENCY = "process"


class InAsyncio(Common):
    NAME = "in-asyncio"

    async def start(self) -> Any:  # type: ignore[override]
        if self.what == "parent":
            one = (await self.helpers.submit("in-greenlet", cleanup=False)).id
            return [
                one,
                *await self.helpers.start_tasks([{"task": "in-greenlet", "cleanup": False}] * 2),
            ]
        if self.what == "who":
            await self.emit("said", 1)
            return [current_task() is self, self.id, self.attempt]
        return getattr(self, self.what)(**self.data)


class Limited(Common):
    NAME = "limited"
    TIMEOUT: ClassVar[float] = 0.05


EACH = (InGreenlet, InThread, InProcess, InAsyncio, Limited)
