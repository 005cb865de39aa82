"""The audit: test builds of the scripts record what they write, in the order of the server.

:func:`install` makes this process send audited scripts; production code knows nothing of it. The
source is wrapped as a whole by ``audit.lua``, so a script that changes is audited as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

_WRAPPER = Path(__file__).with_name("audit.lua").read_text()

#: Changes the text of a script's file before it is assembled; see :mod:`tests.chaos.mutants`.
Mutation = Callable[[str, str], str]


def wrap(name: str, source: str) -> str:
    """Return the audited form of an assembled script."""
    shebang, _, body = source.partition("\n")
    if "no-writes" in shebang:
        return source
    wrapper = _WRAPPER.replace("@NAME@", name)
    return f"{shebang}\n{wrapper.replace('--@SCRIPT@', body)}"


def install(mutation: Mutation | None = None) -> None:
    """Make every store of this process send audited scripts.

    Args:
        mutation: Given path and text of each file of ``pytask/lua``; returns the text to use.
    """
    from pytask import scripts
    from pytask.store import calls

    if mutation is not None:
        mutate(mutation)

    @cache
    def load(name: str) -> scripts.Script:
        plain = scripts.Script.parse(name, scripts._read(f"{name}.lua"))
        source = wrap(name, plain.source)
        return scripts.Script(name, source, sha1(source.encode()).hexdigest())

    load.plain = getattr(scripts.load, "plain", scripts.load)  # type: ignore[attr-defined]
    scripts.load = load  # type: ignore[assignment]
    calls.load = load  # type: ignore[assignment]


def uninstall() -> None:
    """Make every store of this process send the scripts as they are."""
    from pytask import scripts
    from pytask.store import calls

    plain = getattr(scripts.load, "plain", scripts.load)
    scripts.load = calls.load = plain


def mutate(mutation: Mutation) -> None:
    """Change the files of the scripts for this process."""
    from pytask import scripts

    original = scripts._read

    def read(path: str) -> str:
        return mutation(path, original(path))

    scripts._read = read
    scripts.load.cache_clear()


def stream_keys(partitions: int, tagged: bool) -> list[str]:
    return [f"audit{{{number}}}" if tagged else "audit" for number in range(partitions)]


def read_stream(execute: Callable[..., Any], key: str, after: str = "") -> Iterator[dict[str, Any]]:
    """Yield the entries of one stream.

    Args:
        execute: Sends one command and returns its reply as bytes.
        key: The stream.
        after: ID of the last entry that is known already.
    """
    start = f"({after}" if after else "-"
    while page := execute("XRANGE", key, start, "+", "COUNT", 2_000):
        for stream_id, fields in page:
            yield entry_of(key, stream_id, fields)
        start = f"({page[-1][0].decode()}"


def entry_of(key: str, stream_id: bytes, fields: list[bytes]) -> dict[str, Any]:
    """Return an entry as the checker reads it; ``at`` is the server's time."""
    entry: dict[str, Any] = json.loads(fields[1].decode("utf-8", "surrogateescape"))
    entry["at"] = int(stream_id.partition(b"-")[0]) / 1000
    entry["stream"] = key
    entry["q"] = entry.get("q") or {}
    return entry


def read_codes(execute: Callable[..., Any], keys: Iterable[str]) -> Counter[str]:
    """Return how often each script answered what."""
    total: Counter[str] = Counter()
    for key in keys:
        flat = execute("HGETALL", key.replace("audit", "audit-codes", 1))
        for name, count in zip(flat[::2], flat[1::2], strict=True):
            total[name.decode()] += int(count)
    return total
