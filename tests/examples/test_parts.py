"""What the link checker is made of, without a worker."""

from pathlib import Path
from typing import Any

import pytest

from examples.linkcheck.crawl import Crawl, Progress, Verdict
from examples.linkcheck.site import Site, render_markdown, render_source
from examples.linkcheck.web import fetch, find_links, has_anchor, split_fragment


@pytest.fixture
def crawl(valkey_server: Any, namespace_name: str) -> Any:
    crawl = Crawl(valkey_server.client(), namespace_name)
    yield crawl
    crawl.forget()


@pytest.fixture
def namespace_name() -> str:
    from tests.support.namespace import Namespace

    return Namespace.fresh().prefix.rstrip(":")


@pytest.fixture
def site(tmp_path: Path) -> Any:
    (tmp_path / "with space.md").write_text("# One\n# One\n")
    (tmp_path / ".hidden").write_text("secret")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    (tmp_path / "sub").mkdir()
    site = Site(tmp_path)
    yield site
    site.close()


def test_a_crawl_is_over_when_all_that_was_planned_is_done(crawl: Crawl) -> None:
    assert not crawl.progress().is_over
    assert crawl.plan("link", ["http://a/", "http://b/"], found_on="http://p/") == [
        "http://a/",
        "http://b/",
    ]
    crawl.finish("link", "http://a/", "ok")
    assert crawl.progress() == Progress(planned=2, done=1)
    assert crawl.undone() == [("link", "http://b/")]
    crawl.finish("link", "http://b/", "broken", "gone")
    assert crawl.progress().is_over
    assert crawl.verdicts() == [
        Verdict("link", "http://a/", "ok", ""),
        Verdict("link", "http://b/", "broken", "gone"),
    ]
    assert crawl.pages_with(["http://b/"]) == {"http://b/": ["http://p/"]}


def test_what_is_done_is_not_planned_again(crawl: Crawl) -> None:
    crawl.plan("link", ["http://a/"])
    crawl.finish("link", "http://a/", "ok")
    assert crawl.plan("link", ["http://a/", "http://b/"]) == ["http://b/"]
    assert crawl.plan("page", ["http://a/"]) == ["http://a/"], "to read is not to check"


def test_ids_of_long_urls_stay_short_and_different(crawl: Crawl) -> None:
    one, two = (crawl.task_id("link", "http://a/" + "x" * 5000 + end) for end in "12")
    assert len(one) < 200
    assert one != two


def test_links_are_absolute_and_quoted() -> None:
    page = """<base href="/docs/"><a href="a b">1</a><img src=../p.png><a href="mailto:x@y.z">2</a>
        <a href="?q=1#f">3</a><a>4</a><script>no</script><a href="http://[::1">5</a>"""
    assert find_links(page, "http://h/x/") == {
        "http://h/docs/a%20b",
        "http://h/p.png",
        "http://h/docs/?q=1#f",
        "http://h/docs/http%3A%2F%2F%5B%3A%3A1",
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/p#a%20b", ("http://h/p", "a b")),
        ("http://h/p#top", ("http://h/p", "")),
        ("http://h/p#:~:text=x", ("http://h/p", "")),
        ("http://h/p", ("http://h/p", "")),
    ],
)
def test_a_fragment_is_split_off(url: str, expected: tuple[str, str]) -> None:
    assert split_fragment(url) == expected


@pytest.mark.parametrize(
    "text", ["<p id=one>", "<p id='one'>", '<a name="one">', '<p x id = "one"/>']
)
def test_an_anchor_is_found_however_it_is_written(text: str) -> None:
    assert has_anchor(text, "one")
    assert not has_anchor(text, "on")


def test_markdown_headings_get_the_anchors_of_github() -> None:
    page = render_markdown("# It's `here`, now\n## Twice\n## Twice\n(label)=\n\n[x](y.md)\n")
    for anchor in ("its-here-now", "twice", "twice-1", "label"):
        assert has_anchor(page, anchor), anchor


def test_source_has_a_place_for_each_line_and_an_outline() -> None:
    page = render_source("class A:\n    async def b(self): x < 1\n")
    assert find_links(page, "http://h/a.py") == {"http://h/a.py#L1", "http://h/a.py#L2"}
    assert has_anchor(page, "L2")
    assert "x &lt; 1" in page


def test_a_site_serves_what_is_there_and_nothing_else(site: Site) -> None:
    listing = fetch(site.url)
    assert find_links(listing.text, site.url) == {
        f"{site.url}with%20space.md",
        f"{site.url}picture.png",
        f"{site.url}sub/",
    }
    assert has_anchor(fetch(f"{site.url}with%20space.md").text, "one-1")
    assert not fetch(f"{site.url}picture.png").is_html
    assert fetch(f"{site.url}sub").url == f"{site.url}sub/"
    for missing in ("nothing", ".hidden", "%2e%2e/", "sub/%2e%2e/%2e%2e/"):
        assert fetch(f"{site.url}{missing}").problem == "404 Not Found", missing


def test_what_cannot_be_fetched_is_told_not_raised() -> None:
    assert "refused" in fetch("http://127.0.0.1:1/").problem
    assert fetch("http://[::1").problem
