"""The tasks: CheckPage finds links, CheckLink checks them, Pulse tells how fast that goes.

Tasks start each other. The ID of a task is derived from what it checks, and starting an ID that
waits or runs already does nothing: however many pages link to a place, it is checked once. A worker
may be killed anywhere in here. Its tasks then run again from their first line, so each of them is
written to bear that: first it starts what follows, and only then it notes that it is done.
"""

import time
from typing import Any

from pytask import Task, run_loop

from .crawl import Crawl
from .web import fetch, find_links, has_anchor, split_fragment


class CrawlTask(Task):
    """What both kinds of checks are given as data: where they are, and how far they may go.

    Args:
        crawl: Names the crawl.
        url: What to check.
        sites: Beginnings of the URLs whose pages are read, too.
        external: Whether links to anywhere else are followed at all.
    """

    def __init__(self, crawl: str, url: str, sites: list[str], external: bool = False) -> None:
        self.data = {"crawl": crawl, "sites": sites, "external": external}
        self.crawl = Crawl(self.redis, crawl)
        self.url = url
        self.sites = tuple(sites)
        self.external = external

    def request(self, kind: str, url: str) -> dict[str, Any]:
        """Return what ``start_tasks`` needs to start the check of another URL."""
        return {
            "task": f"linkcheck/{kind}",
            "task_id": self.crawl.task_id(kind, url),
            "data": {**self.data, "url": url},
        }


class CheckPage(CrawlTask):
    """Reads one page and starts a task for each link on it."""

    NAME = "linkcheck/page"

    def start(self) -> dict[str, int]:
        page = fetch(self.url)
        links = find_links(page.text, page.url) if page.is_html else set()
        unchecked = self.crawl.plan("link", links, found_on=self.url)
        self.helpers.start_tasks(self.request("link", link) for link in unchecked)
        self.crawl.finish("page", self.url, "ok" if page.ok else "broken", page.problem)
        return {"links": len(links), "started": len(unchecked)}


class CheckLink(CrawlTask):
    """Checks one link; one that leads to a page of the sites starts a task for that page."""

    NAME = "linkcheck/link"

    def start(self) -> str:
        verdict, reason = self.check()
        self.crawl.finish("link", self.url, verdict, reason)
        return reason or verdict

    def check(self) -> tuple[str, str]:
        url, fragment = split_fragment(self.url)
        is_ours = url.startswith(self.sites)
        if not is_ours and not self.external:
            return "skipped", "external"
        page = fetch(url, only_head=not fragment)
        if not page.ok:
            return "broken", page.problem
        if fragment and page.is_html and not has_anchor(page.text, fragment):
            return "broken", f"no anchor #{fragment} on the page"
        if is_ours and page.is_html:
            unread = self.crawl.plan("page", [url])
            self.helpers.start_tasks(self.request("page", page) for page in unread)
        return "ok", ""


class Pulse(Task):
    """A service: runs until it is stopped, and emits how much was checked.

    Args:
        crawl: Names the crawl.
        interval: Seconds between two events.
    """

    NAME = "linkcheck/pulse"

    def __init__(self, crawl: str, interval: float = 1.0) -> None:
        self.crawl = Crawl(self.redis, crawl)
        self.interval = interval
        self.before = (time.monotonic(), self.crawl.count_done())

    def start(self) -> None:
        run_loop(self.beat, self.interval)

    def beat(self) -> None:
        now = (time.monotonic(), self.crawl.count_done())
        seconds, checked = (new - old for new, old in zip(now, self.before, strict=True))
        self.before = now
        self.emit(
            "pulse",
            {
                "checked": now[1],
                "per_second": round(checked / seconds) if seconds else 0,
                "interval": self.interval,
            },
        )
