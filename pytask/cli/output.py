"""Tables for people, tab-separated lines for pipes, JSON for programs; all of it to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from pytask.records import shown, to_json
from pytask.serializers import decode_value, readable


def echo_json(value: Any) -> None:
    """Write a value as one line of JSON; what JSON has no form for as pytask.serializers says."""
    click.echo(to_json(readable(value)).decode())


def echo_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under headings: aligned on a terminal, separated by tabs elsewhere."""
    if not sys.stdout.isatty():
        click.echo("\t".join(columns))
        for row in rows:
            click.echo("\t".join(shown(str(cell)) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not str: a task ID may look like markup.
        table.add_row(*(Text(shown(str(cell))) for cell in row))
    Console(highlight=False).print(table)


def decoded(text: str | None) -> Any:
    """Return the value of an encoded field, or the field itself if it is none."""
    if text is None:
        return None
    try:
        return decode_value(text)
    except ValueError:
        return text


def as_text(value: Any) -> str:
    """Return text as it is and anything else as JSON, see :func:`echo_json`."""
    return value if isinstance(value, str) else to_json(readable(value)).decode()
