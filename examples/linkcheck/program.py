"""One run of the link checker: it starts a crawl and the service, and watches over both."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gevent

from pytask import PyTaskHelpers

from .crawl import Crawl, Progress
from .report import build_report
from .screen import Screen
from .service import ServiceShow
from .workers import Workers

#: Seconds between two looks at the crawl.
LOOK = 0.1
#: Seconds without progress after which the tasks that are not done are looked at.
STUCK = 5.0


class Program:
    """One run.

    Args:
        crawl: What is known of it; the tasks write there, this program only reads.
        helpers: How tasks are started and controlled.
        workers: Who runs them.
        screen: Where it is shown.
    """

    def __init__(
        self, crawl: Crawl, helpers: PyTaskHelpers, workers: Workers, screen: Screen
    ) -> None:
        self._crawl = crawl
        self._helpers = helpers
        self._workers = workers
        self._screen = screen
        self._service = ServiceShow(helpers, crawl.name, screen.tell)
        self._last = Progress(0, 0)
        self._moved_at = time.monotonic()

    def run(self, sites: Mapping[str, str], external: bool) -> dict[str, Any]:
        """Check everything and return the report.

        Args:
            sites: The URLs to begin at, and how to call them in the report.
            external: Whether links to other places are followed.
        """
        began_at = time.monotonic()
        self._begin(list(sites), external)
        with self._screen, self._showing():
            self._watch_crawl()
            seconds = time.monotonic() - began_at
            self._watch_service()
        report = build_report(self._crawl, sites)
        return {**report, "seconds": round(seconds, 3), "service": self._screen.history}

    def end(self) -> None:
        """End the service and forget the crawl."""
        self._service.end()
        self._crawl.forget()

    def _begin(self, sites: list[str], external: bool) -> None:
        for url in self._crawl.plan("link", sites):
            self._helpers.start_task(
                "linkcheck/link",
                task_id=self._crawl.task_id("link", url),
                crawl=self._crawl.name,
                url=url,
                sites=sites,
                external=external,
            )

    @contextmanager
    def _showing(self) -> Iterator[None]:
        self._show = gevent.spawn(self._service.run)
        try:
            yield
        finally:
            self._show.kill()

    def _watch_crawl(self) -> None:
        while not (progress := self._crawl.progress()).is_over:
            self._screen.show(progress)
            now = time.monotonic()
            if progress != self._last:
                self._last, self._moved_at = progress, now
            elif now - self._moved_at > STUCK:
                self._moved_at = now
                self._workers.check()
                self._note_failures()
            gevent.sleep(LOOK)
        self._screen.show(progress)

    def _watch_service(self) -> None:
        while not self._service.shown.wait(LOOK):
            self._screen.show(self._crawl.progress())
            self._workers.check()
            if self._show.dead:
                self._show.get()  # raises what ended it
        self._screen.show(self._crawl.progress())

    def _note_failures(self) -> None:
        """Note tasks that ended with an exception: a bug in here, or a page beyond us."""
        for kind, url in self._crawl.undone():
            task_id = self._crawl.task_id(kind, url)
            state, output = self._helpers.get_task(task_id, ["state", "output"])
            if state == "EXCEPTION":
                reason = json.loads(output or '""').splitlines()[-1]
                self._crawl.finish(kind, url, "failed", reason)
