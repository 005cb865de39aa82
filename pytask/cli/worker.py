"""``pytask worker``: run tasks, in this process or in several."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.apps import load_app
from pytask.cli.errors import ExitCode
from pytask.cli.options import (
    NAMING,
    TUNING,
    app_option,
    debug_option,
    option,
    options,
    redis_option,
    setting_options,
)
from pytask.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pytask.pytask import PyTask

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(process)d %(name)s: %(message)s"

_OF_APP = "that of the app, or "


@click.command(
    epilog="Example: pytask worker -A myproject:app --concurrency 5000 --queues mail,default "
    "--processes 2"
)
@options([app_option, redis_option])
@option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    help="Worker processes to start and keep alive.  [default: 1]",
)
@option("--no-monitor", is_flag=True, help="Do not run the bundled Monitor in this worker.")
@option("--no-cleanup", is_flag=True, help="Do not run the bundled Cleanup in this worker.")
@option(
    "--monitor-interval",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Seconds between full checks of the Monitor.",
)
@option(
    "--task-handler",
    metavar="MODULE:FUNCTION",
    help="What Cleanup calls with ID and record of each ended task.",
)
@options(setting_options({**TUNING, **NAMING}, _OF_APP))
@option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    help="How much is logged to stderr.  [default: info]",
)
@click.option("--supervised", type=int, hidden=True)
@debug_option
@click.pass_context
def worker(
    context: click.Context,
    /,
    app: str | None,
    redis: str | None,
    processes: int,
    log_level: str,
    supervised: int | None,
    **arguments: Any,
) -> int:
    """Run tasks until SIGINT, SIGTERM or SIGHUP.

    The signal stops the claiming of tasks; what runs gets --drain-timeout seconds to end, is then
    stopped and goes back to its queue. A second signal does that at once. SIGUSR1 writes the stacks
    of all greenlets to stderr. Redis may be away at the start; the worker waits for it.
    """
    if app is None:
        raise click.UsageError("no app: name one with -A MODULE:APP or PYTASK_APP", context)
    if processes > 1:
        _set_up_logging(log_level)
        return _supervise(context.obj, processes, redis)
    # A SIGUSR1 that comes before the worker listens to it must not end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if supervised is not None:
        from pytask.cli.processes import watch_lifeline

        watch_lifeline(supervised)
    found = load_app(app)
    _set_up_logging(log_level)
    settings = {name: arguments[name] for name in (*TUNING, *NAMING)}
    reconfigure(found, redis, settings)
    add_bundled_tasks(
        found,
        monitor=not arguments["no_monitor"],
        monitor_interval=arguments["monitor_interval"],
        cleanup=not arguments["no_cleanup"],
        task_handler=arguments["task_handler"],
    )
    found.run()
    return ExitCode.OK


def reconfigure(app: PyTask, redis: str | None, settings: Mapping[str, Any]) -> None:
    """Let the command line override what the app was made with.

    Args:
        app: The app; it does not run yet.
        redis: URL of another Redis; None: the app's own.
        settings: New values by name; None stands for "as it is".

    Raises:
        ConfigurationError: The address or a value cannot be used.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if redis is not None or given:
        app.configure(redis, **given)


def add_bundled_tasks(
    app: PyTask,
    *,
    monitor: bool = True,
    monitor_interval: float | None = None,
    cleanup: bool = True,
    task_handler: str | None = None,
) -> None:
    """Start Monitor and Cleanup as local tasks, unless the app looks after them itself.

    An app that has registered a task class of that name may start it with options of its own, and
    a second Cleanup beside it would take tasks from its handler.

    Raises:
        ConfigurationError: The handler cannot be imported, or would never be called.
    """
    from pytask.tasks import Cleanup, Monitor
    from pytask.tasks.cleanup import find_handler

    own = set(app.task_names)
    if task_handler is not None:
        if not cleanup or Cleanup.NAME in own:
            reason = "of --no-cleanup" if not cleanup else "the app has a Cleanup of its own"
            raise ConfigurationError(f"--task-handler would never be called, because {reason}")
        find_handler(task_handler)
    if monitor and Monitor.NAME not in own:
        options = {} if monitor_interval is None else {"loop_interval": monitor_interval}
        app.add_task(Monitor)
        app.start_local_task(Monitor.NAME, task_timeout=app.settings.task_timeout, **options)
    if cleanup and Cleanup.NAME not in own:
        app.add_task(Cleanup)
        app.start_local_task(
            Cleanup.NAME, **({"task_handler": task_handler} if task_handler else {})
        )


def _supervise(arguments: list[str], processes: int, redis: str | None) -> int:
    from pytask.cli.processes import Processes
    from pytask.connection import connect

    is_installed_script = not sys.argv[0].endswith("__main__.py")
    program = [sys.argv[0]] if is_installed_script else ["-m", "pytask"]
    command = [sys.executable, *program, *arguments, "--processes", "1"]
    if redis is None or not redis.startswith("local:"):
        return Processes(command, processes).run()
    # One embedded server for all of them, instead of one each.
    connector = connect(redis)
    try:
        return Processes([*command, "--redis", str(connector.url)], processes).run()
    finally:
        connector.close()


def _set_up_logging(level: str) -> None:
    """Log to stderr, unless the app has set up logging itself."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=level.upper(), format=LOG_FORMAT)
