"""What a crawl knows, in Redis: what is to be checked, what came out of it, what was found where.

An item is a page to read or a link to check. It is planned before its task is started and done when
its task has started everything that follows from it. So when as many items are done as are
planned, nothing can come any more, and that holds although any worker may die at any time.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

#: Keys of a crawl that nobody removed vanish after a day.
LIFETIME = 24 * 3600


class Progress(NamedTuple):
    """How far a crawl is."""

    planned: int
    done: int

    @property
    def is_over(self) -> bool:
        return 0 < self.planned <= self.done


class Verdict(NamedTuple):
    """What came out for one item: ``ok``, ``broken``, ``skipped``, or ``failed``, our own fault."""

    kind: str
    url: str
    verdict: str
    reason: str


class Crawl:
    """One crawl.

    Args:
        redis: A redis-py client that decodes replies.
        name: Tells the crawls in one Redis apart.
    """

    def __init__(self, redis: Any, name: str) -> None:
        self._redis = redis
        self.name = name
        prefix = f"linkcheck:{name}"
        #: Set of items, hash of item to verdict, set of "URL page" pairs.
        self._planned, self._done, self._mentions = (
            f"{prefix}:{what}" for what in ("planned", "done", "mentions")
        )

    def task_id(self, kind: str, url: str) -> str:
        """Return the one ID under which this is checked."""
        if len(url) > 200:
            url = hashlib.sha256(url.encode()).hexdigest()
        return f"linkcheck/{self.name}/{kind}/{url}"

    def plan(self, kind: str, urls: Iterable[str], found_on: str = "") -> list[str]:
        """Note that these are to be checked; return those that are not done yet."""
        urls = list(urls)
        if not urls:
            return []
        items = [f"{kind} {url}" for url in urls]
        self._redis.sadd(self._planned, *items)
        self._redis.expire(self._planned, LIFETIME)
        if found_on:
            self._redis.sadd(self._mentions, *(f"{url} {found_on}" for url in urls))
            self._redis.expire(self._mentions, LIFETIME)
        done = self._redis.hmget(self._done, items)
        return [url for url, verdict in zip(urls, done, strict=True) if verdict is None]

    def finish(self, kind: str, url: str, verdict: str, reason: str = "") -> None:
        """Note what came out; the last thing a task does."""
        self._redis.hset(self._done, f"{kind} {url}", json.dumps([verdict, reason]))
        self._redis.expire(self._done, LIFETIME)

    def count_done(self) -> int:
        """Return how many items are done."""
        return int(self._redis.hlen(self._done))

    def progress(self) -> Progress:
        """Return how far the crawl is."""
        # In this order: an item that is planned in between must not look done.
        done = self.count_done()
        return Progress(int(self._redis.scard(self._planned)), done)

    def undone(self) -> list[tuple[str, str]]:
        """Return kind and URL of the items that were planned and are not done."""
        left = self._redis.smembers(self._planned) - set(self._redis.hkeys(self._done))
        return [tuple(item.split(" ", 1)) for item in sorted(left)]

    def verdicts(self) -> list[Verdict]:
        """Return what came out for each item."""
        return sorted(
            Verdict(*item.split(" ", 1), *json.loads(value))
            for item, value in self._redis.hscan_iter(self._done, count=1000)
        )

    def pages_with(self, urls: Iterable[str]) -> dict[str, list[str]]:
        """Return for each of these URLs the pages it was found on."""
        found: dict[str, list[str]] = {url: [] for url in urls}
        for pair in self._redis.sscan_iter(self._mentions, count=1000):
            url, page = pair.split(" ", 1)
            if url in found:
                found[url].append(page)
        return {url: sorted(pages) for url, pages in found.items()}

    def forget(self) -> None:
        """Remove everything."""
        for key in (self._planned, self._done, self._mentions):
            self._redis.delete(key)
