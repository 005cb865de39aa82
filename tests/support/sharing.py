"""Let several pytest processes work through one list of tests.

pytest-xdist cannot be used: its workers talk to it from a native thread that is
older than gevent's patches, and the first test ends in an internal error. Here
each process is an ordinary pytest run. All of them collect the same tests, then
each takes the next batch from a common counter until none is left, so a slow
batch in one process is made up for by the others.

Active when the environment names a board (a directory); :mod:`tests.support.run`
makes one and sums up what the processes leave there.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

BOARD = "PYTASK_TEST_BOARD"
#: Most tests taken at once: few enough that the processes end together.
BATCH = 8

Batch = list[pytest.Item]


def pytest_configure(config: pytest.Config) -> None:
    """Share only where the runner asked for it; a plain ``pytest`` runs everything itself."""
    if BOARD in os.environ:
        config.pluginmanager.register(Sharer(Path(os.environ[BOARD])), "sharer")


class Sharer:
    """Runs this process's part of the tests and reports it.

    Args:
        board: Directory common to all processes.
    """

    def __init__(self, board: Path):
        self._board = board
        self._done = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Replace pytest's loop by one that takes batches from the board."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} error(s) during collection")
        self._check_collection(session.items)
        batches = make_batches(session.items)
        batch = self._take(batches)
        while batch:
            batch = self._run(session, batch, batches)
        self._note("")
        return True

    def _run(self, session: pytest.Session, batch: Batch, batches: list[Batch]) -> Batch:
        """Run a batch; return the next one.

        That is taken before the last test runs: pytest has to know what follows a test
        to end exactly the fixtures which are no longer needed.
        """
        following: Batch = []
        for index, item in enumerate(batch):
            if index + 1 == len(batch):
                following = self._take(batches)
            after = next(iter([*batch[index + 1 :], *following]), None)
            self._note(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            self._done += 1
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        return following

    def _check_collection(self, items: list[pytest.Item]) -> None:
        """Refuse to share when processes disagree on what there is to run."""
        names = "\n".join(item.nodeid for item in items)
        digest = hashlib.sha256(names.encode()).hexdigest()
        with self._locked("collected") as file:
            known = file.read()
            if not known:
                file.write(digest)
                (self._board / "total").write_text(str(len(items)))
            elif known != digest:
                pytest.exit("test IDs differ between processes: is one made from a set?", 3)

    def _note(self, test: str) -> None:
        """Leave word of what this process is at, for a look by the runner."""
        note = self._board / f"note-{os.getpid()}"
        note.with_suffix(".new").write_text(json.dumps([self._done, time.time(), test]))
        note.with_suffix(".new").rename(note)

    def _take(self, batches: list[Batch]) -> Batch:
        """Give the next batch to this process alone; an empty one after the last."""
        with self._locked("next") as file:
            number = int(file.read() or 0)
            file.seek(0)
            file.write(str(number + 1))
        return batches[number] if number < len(batches) else []

    def _locked(self, name: str) -> Any:
        descriptor = os.open(self._board / name, os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until the file is closed
        return os.fdopen(descriptor, "r+")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell the runner's terminal about each test."""
        if report.when != "call" and report.passed:
            return
        if report.failed:
            self._progress(f"\nFAILED {report.nodeid} ({report.when})\n")
        else:
            self._progress("s" if report.skipped else ".")

    @staticmethod
    def _progress(text: str) -> None:
        os.write(int(os.environ["PYTASK_TEST_PROGRESS"]), text.encode())

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Leave the counts for the runner, and the reasons of what did not pass."""
        stats = terminalreporter.stats
        counts = {name: len(reports) for name, reports in stats.items() if name and reports}
        failed = [one.nodeid for name in ("failed", "error") for one in stats.get(name, [])]
        skipped = [one.longrepr[2] for one in stats.get("skipped", [])]
        result = {"status": int(exitstatus), "counts": counts, "failed": failed, "skipped": skipped}
        (self._board / f"result-{os.getpid()}.json").write_text(json.dumps(result))


def make_batches(items: list[pytest.Item]) -> list[Batch]:
    """Cut the tests into batches of one module each; slow tests alone and first.

    A slow test that started last would keep one process busy while the rest idle.
    """
    slow = [[item] for item in items if item.get_closest_marker("slow")]
    quick = (item for item in items if not item.get_closest_marker("slow"))
    return slow + [
        batch for _, group in groupby(quick, lambda item: item.path) for batch in _cut(list(group))
    ]


def _cut(group: Batch) -> Iterator[Batch]:
    for start in range(0, len(group), BATCH):
        yield group[start : start + BATCH]
