"""Brings together what the command line, the environment and a configuration file say.

Options that stand for settings have no default, so click tells only those that were given, and by
which of the two. What the file says besides settings becomes the defaults of the options of that
name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pytask.cli.apps import load_app
from pytask.cli.options import NAMING, TUNING, option
from pytask.configuration import COMMAND_KEYS, Layer, Sourced, choose_file, read_file
from pytask.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pytask.pytask import PyTask

DEFAULT_REDIS = "redis://localhost:6379/0"

_LAYER = "pytask.configuration"
#: What an app is told; the rest is for the command.
SETTABLE = frozenset({"redis", *TUNING, *NAMING})
#: Import code; so only a command that runs the app takes them from a file that nobody named.
_CODE = ("app", "task_handler")


def config_option(*, runs_app: bool = False) -> Any:
    """Declare ``--config``; the file is read before the other options are looked at.

    Args:
        runs_app: The command is about the app of this directory, and may import what a file in it
            names. Others must not run code because of the directory they are called in.
    """

    def read(context: click.Context, _: click.Parameter, named: str | None) -> None:
        path, is_named = choose_file(named, os.environ)
        layer = read_file(Path(path)) if path is not None else {}
        if not (runs_app or is_named):
            layer = {name: one for name, one in layer.items() if name not in _CODE}
        context.meta[_LAYER] = layer
        said = {name: one.value for name, one in layer.items() if name in COMMAND_KEYS}
        _check(context, layer)
        context.default_map = {**(context.default_map or {}), **said}

    return option(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=read,
        help="File with settings, TOML or Python.  [default: pytask.toml, or [tool.pytask-gevent] "
        "of pyproject.toml, in this directory]",
    )


def _check(context: click.Context, layer: Layer) -> None:
    """Have the options convert what the file says; click would not say that it is from there."""
    for parameter in context.command.params:
        said = layer.get(parameter.name or "")
        if said is not None and parameter.name in COMMAND_KEYS:
            try:
                parameter.type.convert(said.value, parameter, context)
            except click.BadParameter as error:
                raise ConfigurationError(f"{said.source}: {error.message}") from None


def layer_of(context: click.Context) -> dict[str, Sourced]:
    """Return the settings that were given outside the app, the command line first."""
    layer: dict[str, Sourced] = dict(file_layer(context))
    for parameter in context.command.params:
        name = parameter.name or ""
        source = source_of(context, parameter)
        if source is not None and name in (*TUNING, *NAMING, *COMMAND_KEYS):
            layer[name] = Sourced(context.params[name], source)
    return layer


def file_layer(context: click.Context) -> Layer:
    """Return what the configuration file says."""
    layer: Layer = context.meta.get(_LAYER, {})
    return layer


def source_of(context: click.Context, parameter: click.Parameter) -> str | None:
    """Return who gave an option its value, as people are told it; None: nobody, or the file."""
    source = context.get_parameter_source(parameter.name or "")
    if source is ParameterSource.COMMANDLINE:
        return max(parameter.opts, key=len)
    if source is ParameterSource.ENVIRONMENT:
        return str(parameter.envvar)
    return None


def configured_app(context: click.Context) -> PyTask:
    """Return the app a command is about, with everything applied that overrides its code.

    Without an app it is one that has only defaults.

    Raises:
        ConfigurationError: The app, the address or a setting cannot be used.
    """
    from pytask.pytask import PyTask

    path = context.params["app"]
    app = load_app(path) if path else PyTask(DEFAULT_REDIS)
    app.apply({name: one for name, one in layer_of(context).items() if name in SETTABLE})
    return app
