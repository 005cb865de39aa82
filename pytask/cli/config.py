"""``pytask config``: what a worker started here would be told, and by whom."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from pytask.cli.options import json_option
from pytask.cli.output import as_text, echo_json, echo_table
from pytask.cli.sources import SETTABLE, configured_app, file_layer, source_of
from pytask.cli.worker import worker_options
from pytask.queues import Queues

DEFAULT = "default"


class Row(NamedTuple):
    """One setting."""

    setting: str
    value: Any
    source: str


@click.command(epilog="Example: pytask config -A myproject:app --concurrency 5000 --json")
@worker_options
@json_option
@click.pass_context
def config(context: click.Context, /, as_json: bool, **_: Any) -> None:
    """Show every setting of a worker started here with these options, and where it came from.

    The command line wins over the environment, that over the configuration file, the file over the
    app, and the app over the default. Passwords in the address of Redis are left out.
    """
    rows = read_rows(context)
    if as_json:
        for row in rows:
            echo_json(row._asdict())
        return
    cells = [
        (row.setting, "" if row.value is None else as_text(row.value), row.source) for row in rows
    ]
    echo_table(("SETTING", "VALUE", "FROM"), cells)


def read_rows(context: click.Context) -> list[Row]:
    """Return all settings in the order of the help of ``pytask worker``.

    Raises:
        ConfigurationError: The app, the address or a setting cannot be used.
    """
    app = configured_app(context)
    sources = app.sources
    if context.params["app"] is None and sources["redis"] == "code":
        del sources["redis"]  # that was ours
    rows = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in SETTABLE:
            value: Any = app.helpers.connector.description if name == "redis" else None
            value = getattr(app.settings, name, value)
            value = value.as_json() if isinstance(value, Queues) else value
            rows.append(Row(name, value, sources.get(name, DEFAULT)))
        elif name not in _ABOUT_THIS:
            rows.append(Row(name, context.params[name], _source(context, parameter)))
    return rows


#: Options that do not say how a worker behaves.
_ABOUT_THIS = ("config", "as_json", "debug")


def _source(context: click.Context, parameter: click.Parameter) -> str:
    given = source_of(context, parameter)
    said = file_layer(context).get(parameter.name or "")
    return given or (said.source if said is not None else DEFAULT)
