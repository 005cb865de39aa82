"""How options are declared: each with an environment variable of its name.

``--drain-timeout`` is also read from ``PYTASK_DRAIN_TIMEOUT``; the command line wins. Options that
stand for settings have no default here, so that what a configuration file or the app says holds
unless it is overridden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pytask.configuration import parse_text
from pytask.cores import read_concurrency
from pytask.exceptions import ConfigurationError
from pytask.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

#: Of the settings, those that clients need as well: how things are named.
NAMING = {
    "task_set": "Name of the set of active tasks.",
    "task_prefix": "What precedes an ID in the name of its record and channels.",
    "new_queue": "Name of the default new queue.",
    "end_queue": "Name of the end queue.",
    "partitions": "Hash slots the tasks are spread over; only on Redis Cluster.",
    "node": "Name of this machine, and so of its own queue.",
}

#: The settings of a worker.
TUNING = {
    "concurrency": "Tasks this worker runs at a time; N, N/core, or auto for 1000/core.",
    "processes": "Worker processes to start and keep alive.",
    "max_tasks": "Tasks after which a process ends, to be replaced by a fresh one; 0: never.",
    "thread_pool_size": "Native threads for tasks in thread mode.",
    "process_pool_size": "Child processes for tasks in process mode; 0: one for each core.",
    "queues": "Queues to take tasks from, the most urgent first, or with weights (mail=3,low=1).",
    "drain_timeout": "Seconds running tasks get to end by themselves at shutdown.",
    "stop_timeout": "Seconds a task gets to stop once it is asked to.",
    "update_task_interval": "Seconds between refreshes of the leases of running tasks.",
    "beat_interval": "Seconds between beats of the worker in the registry.",
    "worker_timeout": "Seconds of silence after which a worker counts as dead.",
    "task_timeout": "Seconds without refresh after which a lease is reaped in any case.",
    "redis_grace": "Seconds a worker cut off from Redis keeps its tasks running.",
    "redis_patience": "Seconds a request is repeated while Redis cannot answer.",
    "max_reaps": "Lost workers after which a task becomes a dead letter.",
    "hub_stall_timeout": "Seconds of a blocked event loop after which the leases lapse.",
    "missing_grace": "Seconds an ID without a record waits for one.",
    "keep_failed": "Seconds failed tasks are kept to look at; 0: not at all.",
    "keep_results": "Seconds results are kept once Cleanup has seen them; 0: not at all.",
    "schedule_periodic": "Start the tasks of schedules from this worker.",
    "block_seconds": "Longest blocking wait for a new task, in seconds.",
    "claim_batch": "Most tasks one claim takes.",
    "finish_batch": "Most outcomes one call reports.",
    "heartbeat_batch": "Most leases one call refreshes.",
    "wait_replicas": "Replicas that must have a task before its start is acknowledged.",
    "serializer": "What data and output are written as, json or msgpack; both are read.",
    "max_data_bytes": "Largest data of a task started here, in bytes once encoded.",
    "max_output_bytes": "Largest output stored, in bytes once encoded.",
}


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    # Generic only in newer versions.
    ParamType = click.ParamType


class Names(ParamType):
    """Names separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        return tuple(name.strip() for name in str(value).split(",") if name.strip())


class Concurrency(ParamType):
    """A number, or how to compute one."""

    name = "concurrency"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        read: int | str = parse_text("concurrency", str(value), "concurrency")
        try:
            read_concurrency(read)
        except ConfigurationError as error:
            self.fail(str(error).removeprefix("concurrency="), param, ctx)
        return read


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option that is also read from ``PYTASK_<NAME>``.

    Args:
        *names: As for ``click.option``; the first long one names the variable.
        **attributes: As for ``click.option``.
    """
    long_name = next(name for name in names if name.startswith("--")).partition("/")[0]
    variable = "PYTASK_" + long_name[2:].replace("-", "_").upper()
    attributes.setdefault("envvar", variable)
    attributes.setdefault("show_envvar", not attributes.get("hidden"))
    return click.option(*names, **attributes)


def options(declared: Sequence[Callable[[F], F]]) -> Callable[[F], F]:
    """Apply several declarations; the help shows them in this order."""

    def apply(function: F) -> F:
        for declare in reversed(declared):
            function = declare(function)
        return function

    return apply


def setting_options(texts: dict[str, str], default_of: str) -> list[Callable[[F], F]]:
    """Declare options for settings, typed as the settings are.

    Args:
        texts: Help by name of the setting.
        default_of: Whose value holds when the option is not given, as the help tells it.
    """
    kinds: dict[str, Any] = {"int": click.INT, "float": click.FLOAT, "str": click.STRING}
    metavars = {"int": "NUMBER", "float": "SECONDS", "str": "NAME"}
    declared: list[Callable[[F], F]] = []
    by_name = {field.name: field for field in fields(Settings)}
    for name, text in texts.items():
        kind, default = str(by_name[name].type), by_name[name].default
        if isinstance(default, tuple):
            default = ",".join(default)
        elif isinstance(default, float):
            default = f"{default:.10g}"
        elif default == "":
            default = "the host name"
        if kind == "bool":
            flag = name.replace("_", "-")
            text = f"{text}  [default: {default_of}{'yes' if default else 'no'}]"
            declared.append(option(f"--{flag}/--no-{flag}", name, default=None, help=text))
            continue
        declared.append(
            option(
                "--" + name.replace("_", "-"),
                name,
                type=Concurrency() if name == "concurrency" else kinds.get(kind, Names()),
                metavar=metavars.get(kind, "NAME,…"),
                help=f"{text}  [default: {default_of}{default}]",
            )
        )
    return declared


app_option: Callable[[Any], Any] = option(
    "-A",
    "--app",
    metavar="MODULE:APP",
    help="The PyTask object to use; the current directory is searched too.",
)

redis_option: Callable[[Any], Any] = option(
    "--redis",
    metavar="URL",
    help="Where Redis is: redis://, rediss://, unix://, redis+cluster://host:port,host:port, "
    "redis+sentinel://host:port/service or local://  [default: that of the app, or "
    "redis://localhost:6379/0]",
)

json_option: Callable[[Any], Any] = option(
    "--json", "as_json", is_flag=True, help="Write JSON, one object per line."
)

debug_option: Callable[[Any], Any] = option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)
