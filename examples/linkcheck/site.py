"""Serves a folder over HTTP on loopback, the way a source browser shows it.

Markdown is rendered, other text gets an outline and a number for each line, so that
``tasks.py#L30`` is a place; HTML, images and everything else go out as they are. A folder without
an ``index.html`` lists what is in it.
"""

import html
import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from gevent.pywsgi import WSGIServer
from markdown_it import MarkdownIt

#: Not part of what a person wrote.
IGNORED = re.compile(r"\..*|__pycache__|_build|build|dist|htmlcov|node_modules|.*\.egg-info")
DEFINITION = re.compile(r"^ *(?:async )?(?:def|class) (\w+)")
#: How MyST, which many projects write their docs in, names a place.
MYST_TARGET = re.compile(r"^\((.+)\)=$", re.MULTILINE)
TEMPLATE = "<!doctype html><meta charset=utf-8><title>{title}</title>\n{body}\n"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Site:
    """A folder on a free port of the loopback interface.

    Args:
        folder: What to serve.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._rendered: dict[Path, bytes] = {}
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, backlog=1024, log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        """Stop serving."""
        self._server.stop(timeout=1)

    def _answer(self, environ: Mapping[str, Any], respond: StartResponse) -> Iterable[bytes]:
        # WSGI hands over bytes in the shape of Latin-1.
        path = unquote(environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"))
        found = self._find(path)
        if found is None:
            respond("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found\n"]
        if found.is_dir() and not path.endswith("/"):
            # Relative links on the page would lead to the wrong place.
            respond("301 Moved Permanently", [("Location", quote(path + "/"))])
            return []
        kind, body = self._read(found)
        respond("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _find(self, path: str) -> Path | None:
        parts = [part for part in path.split("/") if part]
        if ".." in parts or any(IGNORED.fullmatch(part) for part in parts):
            return None
        found = self.folder.joinpath(*parts)
        if (found / "index.html").is_file():
            found /= "index.html"
        return found if found.exists() else None

    def _read(self, path: Path) -> tuple[str, bytes]:
        kind = mimetypes.guess_type(path.name)[0] or "text/plain"
        if kind == "text/html":
            return kind, path.read_bytes()
        if path.is_file() and not _is_text(path, kind):
            return kind, path.read_bytes()
        if path not in self._rendered:
            self._rendered[path] = self._render(path).encode()
        return "text/html; charset=utf-8", self._rendered[path]

    def _render(self, path: Path) -> str:
        title = path.relative_to(self.folder).as_posix()
        if path.is_dir():
            body = _listing(path)
        elif path.suffix == ".md":
            body = render_markdown(path.read_text())
        else:
            body = render_source(path.read_text(errors="replace"))
        return TEMPLATE.format(title=html.escape(title), body=body)


def render_markdown(text: str) -> str:
    """Return HTML; headings get anchors by the rule GitHub and MyST follow."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = markdown.parse(MYST_TARGET.sub(r'<a id="\1"></a>', text))
    seen: dict[str, int] = {}
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            words = "".join(child.content for child in inline.children or [])
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            seen[slug] = number = seen.get(slug, -1) + 1
            heading.attrSet("id", f"{slug}-{number}" if number else slug)
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def render_source(text: str) -> str:
    """Return HTML with an outline of what is defined and an anchor for each line."""
    outline, lines = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if match := DEFINITION.match(line):
            outline.append(f'<li><a href="#L{number}">{match[1]}</a></li>')
        lines.append(f'<span id="L{number}">{html.escape(line)}</span>')
    return f"<ul>{''.join(outline)}</ul>\n<pre>{chr(10).join(lines)}</pre>"


def _listing(folder: Path) -> str:
    names = [
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in sorted(folder.iterdir())
        if not IGNORED.fullmatch(entry.name)
    ]
    items = (f'<li><a href="./{quote(name)}">{html.escape(name)}</a></li>' for name in names)
    return f"<ul>{''.join(items)}</ul>"


def _is_text(path: Path, kind: str) -> bool:
    if kind.startswith("image/"):
        return False
    with path.open("rb") as file:
        return b"\0" not in file.read(1024)
