"""The worker that the acceptance tests of limits and locks start: ADDRESS OPTIONS [LOCAL TASK]."""

# ruff: noqa: E402  (patching has to come before the imports below it)
from gevent import monkey

monkey.patch_all()

import json
import logging
import sys
import time
from typing import Any

from pytask import Cleanup, Monitor, PyTask, Task
from tests.support.clients import read_address
from tests.support.tell import tell


class Gated(Task):
    """Has an effect every few milliseconds; two of them at a time in the whole fleet."""

    NAME = "gated"
    MAX_CONCURRENCY = 2

    def __init__(self, seconds: float = 600, first: float | None = None) -> None:
        self.seconds = seconds
        #: Work so long at the first attempt only.
        self.first = first

    def start(self) -> None:
        tell("began", id=self.id, attempt=self.attempt, token=self.token, at=time.time())
        first = self.first if self.first is not None and self.attempt == 1 else None
        until = time.monotonic() + (self.seconds if first is None else first)
        while time.monotonic() < until:
            time.sleep(0.01)
            tell("effect", id=self.id, token=self.token, at=time.time())


class PerAccount(Gated):
    """One at a time for each account."""

    NAME = "per-account"
    MAX_CONCURRENCY = 0

    def __init__(self, account: str, seconds: float = 600, first: float | None = None) -> None:
        super().__init__(seconds, first)

    @staticmethod
    def CAN_OVERLAP(account: str, **_: Any) -> str:
        return account


class Locked(Task):
    """Takes a lock and keeps it for so long."""

    NAME = "locked"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def start(self) -> int:
        with self.lock("door", timeout=2) as lock:
            tell("locked", id=self.id, fence=lock.fence)
            time.sleep(self.seconds)
            return lock.fence


def main() -> None:
    address = read_address(sys.argv[1])
    app = PyTask(address, **json.loads(sys.argv[2]))
    app.add_tasks(Gated, PerAccount, Locked, Monitor, Cleanup)
    for name in sys.argv[3:]:
        app.start_local_task(name)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    app.run()


if __name__ == "__main__":
    main()
