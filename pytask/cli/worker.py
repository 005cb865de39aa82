"""``pytask worker``: run tasks, in this process or in several."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from pytask.cli.errors import ExitCode
from pytask.cli.logs import log_level_option, set_up_logging
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
from pytask.cli.sources import config_option, configured_app, layer_of
from pytask.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pytask.pytask import PyTask

_OF_APP = "that of the app, or "

#: What a worker is told, and `pytask config` shows.
worker_options = options(
    [
        app_option,
        config_option(runs_app=True),
        redis_option,
        option("--no-monitor", is_flag=True, help="Do not run the bundled Monitor in this worker."),
        option("--no-cleanup", is_flag=True, help="Do not run the bundled Cleanup in this worker."),
        option(
            "--monitor-interval",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Seconds between full checks of the Monitor.",
        ),
        option(
            "--task-handler",
            metavar="MODULE:FUNCTION",
            help="What Cleanup calls with ID and record of each ended task.",
        ),
        *setting_options({**TUNING, **NAMING}, _OF_APP),
        log_level_option,
        debug_option,
    ]
)


@click.command(
    epilog="Example: pytask worker -A myproject:app --concurrency 5000 --queues mail,default "
    "--processes 2"
)
@worker_options
@click.pass_context
def worker(
    context: click.Context,
    /,
    app: str | None,
    redis: str | None,
    log_level: str,
    **arguments: Any,
) -> int:
    """Run tasks until SIGINT, SIGTERM or SIGHUP.

    The signal stops the claiming of tasks; what runs gets --drain-timeout seconds to end, is then
    stopped and goes back to its queue. A second signal does that at once. SIGUSR1 writes the stacks
    of all greenlets, threads and coroutines to stderr. Redis may be away at the start; the worker
    waits for it.

    A setting that is not given here is taken from the environment, the configuration file or the
    app; `pytask config` shows which.
    """
    from pytask.worker.processes import join_supervisor

    if app is None:
        raise click.UsageError("no app: name one with -A MODULE:APP or PYTASK_APP", context)
    # A SIGUSR1 that comes before the worker listens to it must not end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    is_alone = join_supervisor() is None
    given = layer_of(context).get("processes")
    if is_alone and given is not None and given.value > 1:
        set_up_logging(log_level)
        return _supervise(context.obj, given.value, redis)
    found = configured_app(context)
    set_up_logging(log_level)
    if is_alone and found.settings.processes > 1:
        return _run_processes(context.obj, found.settings.processes, found.helpers.connector.url)
    add_bundled_tasks(
        found,
        monitor=not arguments["no_monitor"],
        monitor_interval=arguments["monitor_interval"],
        cleanup=not arguments["no_cleanup"],
        task_handler=arguments["task_handler"],
    )
    found.run()
    return ExitCode.OK


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
    from pytask.connection import connect

    if redis is None or not redis.startswith("local:"):
        return _run_processes(arguments, processes)
    # One embedded server for all of them, instead of one each.
    connector = connect(redis)
    try:
        return _run_processes(arguments, processes, connector.url)
    finally:
        connector.close()


def _run_processes(arguments: list[str], processes: int, redis: str | None = None) -> int:
    from pytask.worker.processes import Processes

    is_installed_script = not sys.argv[0].endswith("__main__.py")
    program = [sys.argv[0]] if is_installed_script else ["-m", "pytask"]
    shared = [] if redis is None else ["--redis", redis]
    return Processes([sys.executable, *program, *arguments, *shared], processes).run()
