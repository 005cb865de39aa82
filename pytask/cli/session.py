"""From the options of a client command to helpers on the right Redis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.apps import load_app
from pytask.cli.errors import CommandFailed, ExitCode
from pytask.cli.options import (
    NAMING,
    app_option,
    debug_option,
    option,
    options,
    redis_option,
    setting_options,
)
from pytask.cli.sources import DEFAULT_REDIS, config_option, layer_of
from pytask.configuration import Layer, blame
from pytask.exceptions import ConfigurationError, RedisRefused, RedisRejected, RedisUnavailable

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers

#: Seconds; shorter than in a service, because a person waits for the answer.
DEFAULT_PATIENCE = 3.0

Command = Callable[..., int | None]

_client_options: Callable[[Command], Command] = options(
    [
        app_option,
        config_option(),
        redis_option,
        *setting_options(NAMING, "that of the app, or "),
        option(
            "--redis-patience",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            default=DEFAULT_PATIENCE,
            help="Seconds a request is repeated while Redis cannot answer.  "
            f"[default: {DEFAULT_PATIENCE:g}]",
        ),
        debug_option,
    ]
)


def client_command(function: Command) -> Command:
    """Give a command the options of a client, and helpers made from them as first argument."""

    @functools.wraps(function)
    def command(
        app: str | None, redis: str | None, redis_patience: float, **arguments: Any
    ) -> int | None:
        context = click.get_current_context()
        layer = layer_of(context)
        for name in NAMING:
            del arguments[name]
        given = {name: layer[name].value for name in NAMING if name in layer}
        _check(given, layer)
        with open_helpers(app, redis, {**given, "redis_patience": redis_patience}) as helpers:
            return function(helpers, **arguments)

    return _client_options(command)


def _check(given: Mapping[str, Any], layer: Layer) -> None:
    from pytask.settings import Settings

    try:
        Settings.of(given)
    except ConfigurationError as error:
        raise blame(error, layer) from None


@contextmanager
def open_helpers(
    app_path: str | None, redis: str | None, overrides: Mapping[str, Any]
) -> Iterator[PyTaskHelpers]:
    """Make helpers for one command.

    Args:
        app_path: Where the settings come from, as ``module:app``; None: the defaults.
        redis: URL of Redis; None: the app's, or the one on this host.
        overrides: Settings that were given on the command line.

    Raises:
        CommandFailed: Redis could not be reached.
        ConfigurationError: The app, the address or a setting cannot be used.
    """
    from pytask.connection import connect
    from pytask.helpers import PyTaskHelpers
    from pytask.settings import Settings

    connector = None
    settings, listener = Settings(), None
    if app_path is not None:
        app = load_app(app_path)
        settings, connector = app.settings, app.helpers.connector
        listener = app.helpers.on_queued
    if connector is None or redis is not None:
        connector = connect(redis or DEFAULT_REDIS)
    try:
        helpers = PyTaskHelpers.of(connector, settings.with_options(**overrides))
        helpers.on_queued = listener
        yield helpers
    except RedisUnavailable as error:
        raise CommandFailed(
            f"Redis at {connector.description} cannot be reached: {error}; is it running? name "
            "another one with --redis or PYTASK_REDIS",
            ExitCode.REDIS,
        ) from error
    except (RedisRefused, RedisRejected) as error:
        raise CommandFailed(
            f"Redis at {connector.description} does not serve this: {error}", ExitCode.REDIS
        ) from error
    finally:
        connector.close()
