"""Fetching pages and finding the links on them, with the standard library.

``urllib`` blocks, and it may: gevent has patched the sockets below it, so only the task waits.
"""

import html
import re
import urllib.error
import urllib.request
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

TIMEOUT = 20.0
USER_AGENT = "pytask-linkcheck/1.0"

#: Which attribute of which element leads somewhere.
LINKS = {
    "a": "href",
    "area": "href",
    "link": "href",
    "img": "src",
    "script": "src",
    "iframe": "src",
    "audio": "src",
    "video": "src",
    "source": "src",
}


class Page(NamedTuple):
    """What a server answered; ``problem`` says why there is no answer."""

    url: str
    status: int
    is_html: bool
    text: str
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def fetch(url: str, *, only_head: bool = False) -> Page:
    """Fetch a URL; what goes wrong is told in the result."""
    method = "HEAD" if only_head else "GET"
    try:
        request = urllib.request.Request(url, method=method, headers={"User-Agent": USER_AGENT})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            is_html = response.headers.get_content_type() in ("text/html", "application/xhtml+xml")
            charset = response.headers.get_content_charset("utf-8")
            body = response.read() if is_html else b""
            return Page(response.url, response.status, is_html, body.decode(charset, "replace"))
    except urllib.error.HTTPError as error:
        with error:
            if only_head and error.code in (405, 501):
                return fetch(url)
            return Page(url, error.code, False, "", f"{error.code} {error.reason}")
    except (OSError, ValueError, LookupError) as error:
        # URLError wraps what really happened.
        return Page(url, 0, False, "", str(getattr(error, "reason", error)))


def find_links(text: str, base: str) -> set[str]:
    """Return all places an HTML page leads to, as absolute http(s) URLs."""
    finder = _LinkFinder(base)
    finder.feed(text)
    finder.close()
    return finder.found


def split_fragment(url: str) -> tuple[str, str]:
    """Split a URL from what follows its ``#``; the top of a page is no fragment."""
    page, fragment = urldefrag(url)
    fragment = unquote(fragment)
    return page, "" if fragment == "top" or fragment.startswith(":~:") else fragment


def has_anchor(text: str, fragment: str) -> bool:
    """Tell whether an HTML page has an element of that ``id`` or ``name``."""
    # A search, because thousands of links may lead to anchors of one page: parsing costs more.
    value = re.escape(html.escape(fragment))
    return bool(re.search(rf"""\b(?:id|name)\s*=\s*(?:"{value}"|'{value}'|{value}[\s>])""", text))


class _LinkFinder(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "base" and attributes.get("href"):
            self.base = urljoin(self.base, attributes["href"])
        link = attributes.get(LINKS.get(tag, ""))
        if link is not None and attributes.get("rel") not in ("preconnect", "dns-prefetch"):
            self._add(link.strip())

    def _add(self, link: str) -> None:
        try:
            url = urljoin(self.base, link)
            scheme = urlsplit(url).scheme
        except ValueError:
            # Not even a URL. As a path it will be reported, as missing.
            url, scheme = urljoin(self.base, f"./{quote(link, safe='')}"), "http"
        if scheme in ("http", "https"):
            # Spaces and the like as a browser sends them; what is quoted stays so.
            self.found.add(quote(url, safe="%/:=&?~#+!$,;'@()*[]"))
