"""``pytask rpc``: serve the tasks of an app by JSON-RPC."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from pytask.cli.errors import ExitCode
from pytask.cli.logs import log_level_option, set_up_logging
from pytask.cli.options import (
    NAMING,
    app_option,
    debug_option,
    json_option,
    option,
    options,
    redis_option,
    setting_options,
)
from pytask.cli.output import echo_json
from pytask.cli.sources import config_option, configured_app
from pytask.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_APP = "that of the app, or "


@click.command(epilog="Example: pytask rpc -A myproject:app --token-file /run/secrets/pytask-rpc")
@options([app_option, config_option(runs_app=True), redis_option])
@option(
    "--bind",
    metavar="HOST:PORT",
    default="127.0.0.1:8042",
    help="Where to listen; port 0: any that is free.  [default: 127.0.0.1:8042]",
)
@option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the token clients send as Authorization: Bearer.",
)
@option("--token-env", metavar="NAME", help="An environment variable with the token.")
@option(
    "--allow-without-token",
    is_flag=True,
    help="Listen elsewhere than on loopback although everybody may call it.",
)
@option(
    "--request-parameters",
    metavar="MODULE:FUNCTION",
    help="What is called with each request that starts a task, for options to add to it.",
)
@option("--max-body", type=click.IntRange(min=1), metavar="BYTES", help="Largest request.")
@option("--max-batch", type=click.IntRange(min=1), metavar="NUMBER", help="Most calls in a batch.")
@option(
    "--max-wait",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Longest time a request may wait for tasks.",
)
@option(
    "--connections",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Most connections at a time.",
)
@options(setting_options(NAMING, _OF_APP))
@log_level_option
@json_option
@debug_option
@click.pass_context
def rpc(
    context: click.Context,
    /,
    app: str | None,
    redis: str | None,
    bind: str,
    token_file: Path | None,
    token_env: str | None,
    allow_without_token: bool,
    request_parameters: str | None,
    log_level: str,
    as_json: bool,
    **arguments: Any,
) -> int:
    """Serve the tasks of an app by JSON-RPC 2.0 over HTTP, until SIGINT or SIGTERM.

    It runs no tasks itself; a worker does. Its address is written to stdout once it listens. The
    signal ends it when the calls under way are answered, after five seconds at the latest.
    """
    if app is None:
        raise click.UsageError("no app: name one with -A MODULE:APP or PYTASK_APP", context)
    from gevent import signal_handler
    from gevent.event import Event

    from pytask.rpc.server import make_server

    stopped = Event()
    found = configured_app(context)
    set_up_logging(log_level)
    given = {
        name: value for name, value in arguments.items() if value is not None and name not in NAMING
    }
    if request_parameters is not None:
        given["task_request_parameters"] = _load_function(request_parameters)
    server = make_server(
        found,
        bind,
        token=read_token(token_file, token_env),
        allow_without_token=allow_without_token,
        **given,
    )
    watchers = [signal_handler(one, stopped.set) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        server.start()
        if as_json:
            echo_json({"url": server.url})
        else:
            click.echo(f"serving the tasks of {app} at {server.url}")
        stopped.wait()
        server.stop()
    finally:
        for watcher in watchers:
            watcher.cancel()
        found.helpers.close()
    return ExitCode.OK


def read_token(file: Path | None, variable: str | None) -> str | None:
    """Return the token that the command line leads to; None if it names none.

    Raises:
        ConfigurationError: It leads to no token: an empty one would let everybody in.
    """
    if file is not None and variable is not None:
        raise ConfigurationError("--token-file and --token-env: give one of them")
    if file is not None:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"--token-file {file}: {reason}") from None
        where = f"--token-file {file}"
    elif variable is not None:
        token, where = os.environ.get(variable, "").strip(), f"--token-env {variable}"
    else:
        return None
    if not token:
        raise ConfigurationError(f"{where}: there is no token")
    return token


def _load_function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"--request-parameters {path}: {error}") from error
    if not callable(function):
        raise ConfigurationError(f"--request-parameters {path} is not callable")
    return cast("Callable[..., Any]", function)
