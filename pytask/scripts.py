"""Loads the Lua scripts of ``pytask/lua``: one file per transition, includes resolved.

A script starts with a ``#!lua`` line, which makes Redis decide *before* it runs whether it may run
at all (out of memory, read-only replica), and has one header whose form ``Script.parse`` checks.
``--- @include "name"`` in the header pulls in ``include/name.lua`` once. Nothing here talks to
Redis; :mod:`pytask.store` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

from pytask.exceptions import PyTaskException

#: Texts that stand in for includes, by name; see replaced_include.
_replaced: dict[str, str] = {}

_INCLUDE = re.compile(r'^--- @include "([a-z_]+)"$', re.MULTILINE)
_HEADER = re.compile(
    r"#!lua(?: flags=[a-z,-]+)?\n-- (?P<name>[a-z_]+): .+\n(?:--.*\n)*?-- Returns", re.MULTILINE
)


class ScriptError(PyTaskException):
    """A Lua file of pytask is damaged or missing; reinstall the package."""


class Script(NamedTuple):
    """A complete script, ready for EVALSHA with EVAL as the fallback."""

    name: str
    source: str
    sha: str

    @classmethod
    def parse(cls, name: str, text: str) -> Script:
        """Assemble a script from the text of its file.

        Raises:
            ScriptError: It has no header of the common form, or includes what does not exist.
        """
        header = _HEADER.match(text)
        if header is None or header["name"] != name:
            raise ScriptError(
                f"{name}.lua: must begin with '#!lua', '-- {name}: what it does' and a header "
                "that lists KEYS, ARGV and '-- Returns'"
            )
        included = "".join(map(read_include, _INCLUDE.findall(text)))
        shebang, _, body = text.partition("\n")
        source = "\n".join([shebang, included + body])
        return cls(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(path: str) -> str:
    try:
        return files("pytask").joinpath("lua", *path.split("/")).read_text(encoding="utf-8")
    except OSError as error:
        raise ScriptError(f"pytask/lua/{path} cannot be read: {error}") from None


def read_include(name: str) -> str:
    """Return the text of an include, or what takes its place.

    Raises:
        ScriptError: There is none.
    """
    return _replaced.get(name) or _read(f"include/{name}.lua")


@cache
def load(name: str) -> Script:
    """Return the script called ``name``.

    Raises:
        ScriptError: There is none, or it is damaged.
    """
    return Script.parse(name, _read(f"{name}.lua"))


@contextmanager
def replaced_include(name: str, text: str) -> Iterator[None]:
    """Let the scripts of this process have another include, for tests of what depends on the time.

    Args:
        name: Of the include.
        text: What takes its place.
    """
    _replaced[name] = text
    load.cache_clear()
    try:
        yield
    finally:
        _replaced.pop(name, None)
        load.cache_clear()


def load_all() -> None:
    """Read all scripts now.

    A process that runs for long must not depend on the files later: it may have no descriptor
    left to open them, or they may be those of another version by then.

    Raises:
        ScriptError: One is damaged.
    """
    for name in list_names():
        load(name)


def list_names() -> list[str]:
    """Return the names of all scripts."""
    return sorted(
        entry.name.removesuffix(".lua")
        for entry in files("pytask").joinpath("lua").iterdir()
        if entry.name.endswith(".lua")
    )
