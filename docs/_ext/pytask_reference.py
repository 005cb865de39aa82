"""Reference pages that are read from the code while the documentation is built.

Three directives, each a view on the one place where a fact is written down::

    pytask-settings   every field of pytask.settings.Settings with its default and its comment
    pytask-scripts    the header of every file in pytask/lua
    pytask-cli        the help of every command of the command line

The functions that read the code need no Sphinx; ``tests/docs`` calls them as well.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.resources import files
from typing import Any, NamedTuple

#: Width of the help texts, in characters.
HELP_WIDTH = 92

_COMMENT = re.compile(r"^\s*#: ?(.*)$")
_FIELD = re.compile(r"^\s+([a-z_]+): [a-z\[\], .]+ = ")


#: Stands for a colon while napoleon looks.
_COLON = "\N{MODIFIER LETTER COLON}"


class Setting(NamedTuple):
    """One row of the settings table."""

    name: str
    kind: str
    default: str
    text: str


class ScriptHeader(NamedTuple):
    """What a Lua script says of itself."""

    name: str
    summary: str
    #: The rest of the header, as it stands in the file.
    details: str
    #: Whether it may run while Redis is out of memory.
    allows_oom: bool


class CommandHelp(NamedTuple):
    """One command of the command line."""

    path: str
    summary: str
    text: str


def read_settings() -> list[Setting]:
    """Return all settings, in the order of the class."""
    from pytask.settings import Settings

    texts: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(Settings).splitlines():
        if found := _COMMENT.match(line):
            comment.append(found[1])
        elif found := _FIELD.match(line):
            texts[found[1]] = " ".join(comment)
            comment = []
    return [
        Setting(field.name, str(field.type), _default(field.default), texts.get(field.name, ""))
        for field in fields(Settings)
    ]


def _default(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def read_scripts() -> list[ScriptHeader]:
    """Return the headers of all scripts, sorted by name."""
    from pytask.scripts import list_names

    return [_header(name) for name in list_names()]


def _header(name: str) -> ScriptHeader:
    text = files("pytask").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    shebang, first, *rest = text.splitlines()
    details = []
    for line in rest:
        if not line.startswith("--") or line.startswith("---"):
            break
        details.append(line[2:].removeprefix(" ").rstrip())
    summary = first.removeprefix(f"-- {name}: ")
    return ScriptHeader(name, summary, "\n".join(details).strip("\n"), "allow-oom" in shebang)


def read_commands() -> list[CommandHelp]:
    """Return the help of ``pytask`` and of all its commands, in the order the help lists them."""
    from pytask.cli.root import pytask

    return list(_commands(pytask, "pytask", None))


def _commands(command: Any, path: str, parent: Any) -> Iterator[CommandHelp]:
    import click

    if command.hidden:
        return
    context = click.Context(
        command,
        info_name=path if parent is None else command.name,
        parent=parent,
        terminal_width=HELP_WIDTH,
        max_content_width=HELP_WIDTH,
    )
    yield CommandHelp(path, command.get_short_help_str(200), command.get_help(context))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _commands(found, f"{path} {name}", context)


def setup(app: Any) -> dict[str, Any]:
    """Register the directives."""
    from docutils import nodes
    from docutils.parsers.rst import Directive

    def literals(text: str) -> list[Any]:
        parts: list[Any] = []
        for index, part in enumerate(re.split(r"``?([^`]+)``?", text)):
            parts.append(nodes.literal(text=part) if index % 2 else nodes.Text(part))
        return parts

    def table(head: Sequence[str], rows: Sequence[Sequence[Any]], widths: Sequence[int]) -> Any:
        group = nodes.tgroup(cols=len(head))
        group += [nodes.colspec(colwidth=width) for width in widths]
        for kind, some in ((nodes.thead, [[nodes.Text(text)] for text in head]),):
            group += kind("", _row(nodes, some))
        body = nodes.tbody()
        for row in rows:
            body += _row(nodes, row)
        group += body
        return nodes.table("", group, classes=["colwidths-given"])

    class SettingsTable(Directive):
        """A table of all settings."""

        def run(self) -> list[Any]:
            rows = [
                (
                    [nodes.literal(text=one.name)],
                    [nodes.literal(text=one.default)],
                    literals(one.text),
                    [nodes.literal(text=f"PYTASK_{one.name.upper()}")],
                )
                for one in read_settings()
            ]
            head = ("option", "default", "meaning", "variable")
            return [table(head, rows, (22, 12, 40, 26))]

    class Scripts(Directive):
        """A section for each script."""

        def run(self) -> list[Any]:
            return [self._section(one) for one in read_scripts()]

        def _section(self, one: ScriptHeader) -> Any:
            section = nodes.section("", nodes.title(text=one.name), names=[f"script-{one.name}"])
            self.state.document.note_explicit_target(section)
            section += nodes.paragraph("", "", nodes.strong(text=one.summary))
            section += nodes.literal_block(one.details, one.details, language="text")
            if not one.allows_oom and not one.name.startswith("read_"):
                note = "Redis refuses it while it is out of memory."
                section += nodes.paragraph(text=note)
            return section

    class CommandLine(Directive):
        """A section for each command."""

        def run(self) -> list[Any]:
            return [self._section(one) for one in read_commands()]

        def _section(self, one: CommandHelp) -> Any:
            name = one.path.replace(" ", "-")
            section = nodes.section("", nodes.title(text=one.path), names=[f"cli-{name}"])
            self.state.document.note_explicit_target(section)
            section += nodes.literal_block(one.text, one.text, language="text")
            return section

    def hide_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: Any) -> None:
        # Napoleon takes "Text: more text" above an attribute for a type and its description.
        if what in ("attribute", "property"):
            lines[:] = [line.replace(": ", f"{_COLON} ") for line in lines]

    def show_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: Any) -> None:
        lines[:] = [line.replace(_COLON, ":") for line in lines]

    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", show_colons, priority=600)
    app.add_directive("pytask-settings", SettingsTable)
    app.add_directive("pytask-scripts", Scripts)
    app.add_directive("pytask-cli", CommandLine)
    return {"parallel_read_safe": True, "version": "1"}


def _row(nodes: Any, cells: Sequence[Sequence[Any]]) -> Any:
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", nodes.paragraph("", "", *cell))
    return row
