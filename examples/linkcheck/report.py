"""What came out of a crawl, as a table or as JSON."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .crawl import Crawl

#: Pages named for one broken link; the number of the others follows.
PAGES_SHOWN = 3


def build_report(crawl: Crawl, labels: Mapping[str, str]) -> dict[str, Any]:
    """Collect what the tasks have noted.

    Args:
        crawl: The crawl.
        labels: What to write instead of the beginnings of URLs.
    """
    verdicts = crawl.verdicts()
    counts = Counter((item.kind, item.verdict) for item in verdicts)
    bad = [
        item
        for item in verdicts
        if item.verdict == "failed" or (item.kind, item.verdict) == ("link", "broken")
    ]
    pages = crawl.pages_with(item.url for item in bad)

    def label(url: str) -> str:
        for beginning, text in labels.items():
            if url.startswith(beginning):
                return text + url.removeprefix(beginning)
        return url

    def rows(verdict: str) -> list[dict[str, Any]]:
        return [
            {
                "url": label(item.url),
                "reason": item.reason,
                "pages": [label(page) for page in pages[item.url]],
            }
            for item in bad
            if item.verdict == verdict
        ]

    return {
        "pages": counts["page", "ok"],
        "links": sum(counts["link", verdict] for verdict in ("ok", "broken", "skipped", "failed")),
        "skipped": counts["link", "skipped"],
        "tasks": len(verdicts),
        "broken": rows("broken"),
        "failed": rows("failed"),
    }


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print a report for people."""
    bad = [*report["broken"], *report["failed"]]
    if bad:
        table = Table("link", "problem", "found on", title="Broken links", title_justify="left")
        for row in bad:
            table.add_row(escape(row["url"]), escape(row["reason"]), escape(_shorten(row["pages"])))
        console.print(table)
    rate = report["tasks"] / report["seconds"]
    console.print(
        f"[bold]{report['links']:,}[/] links on [bold]{report['pages']:,}[/] pages: "
        f"[bold]{len(report['broken'])}[/] broken, {report['skipped']:,} external ones skipped.\n"
        f"{report['tasks']:,} tasks in {report['seconds']:.1f} s, {rate:,.0f} per second.",
        highlight=False,
    )


def _shorten(pages: list[str]) -> str:
    names = "\n".join(page or "the starting page" for page in pages[:PAGES_SHOWN])
    more = len(pages) - PAGES_SHOWN
    return f"{names}\nand {more} more" if more > 0 else names
