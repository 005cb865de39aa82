"""The command ``pytask`` itself."""

from __future__ import annotations

import click

from pytask import __version__
from pytask.cli.config import config
from pytask.cli.control import reload, remove, restart, stop
from pytask.cli.follow import events
from pytask.cli.letters import failed
from pytask.cli.look import list_tasks, schedules, show, status
from pytask.cli.queues import flush, pause, queues, resume
from pytask.cli.rpc import rpc
from pytask.cli.start import start
from pytask.cli.worker import worker


class InOrder(click.Group):
    """Lists its commands as they were added: the way people come to need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every option can also be given in the environment, --drain-timeout for example as "
    "PYTASK_DRAIN_TIMEOUT. Exit codes: 0 done, 1 partly or not done, 2 wrong usage, 3 Redis cannot "
    "be reached, 5 the task waited for did not succeed, 124 the time to wait is over.",
)
@click.version_option(__version__, prog_name="pytask")
@click.pass_context
def pytask(context: click.Context) -> int | None:
    """Run workers, and start, control and watch tasks."""
    if context.invoked_subcommand is not None:
        return None
    click.echo(context.get_help())
    return 2


_QUEUES = (queues, pause, resume, flush)
_WATCHING = (status, show, list_tasks, failed, schedules, events)

for _command in (worker, config, start, stop, reload, restart, remove, *_QUEUES, *_WATCHING):
    pytask.add_command(_command)
pytask.add_command(rpc)
