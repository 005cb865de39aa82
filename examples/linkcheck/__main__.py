"""The command line: ``python -m examples.linkcheck --help``."""

import json
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import gevent
from rich.console import Console

from pytask import ConfigurationError, PyTaskHelpers

from .crawl import Crawl
from .program import Program
from .report import print_report
from .screen import Screen
from .site import Site
from .workers import ROOT, Workers, WorkersLost


@click.command(help="Check the links of folders and web sites; without any, of this project.")
@click.argument("targets", nargs=-1, metavar="[FOLDER|URL]...")
@click.option("--external", is_flag=True, help="Check links to other sites, too.")
@click.option("--workers", default=2, type=click.IntRange(1), help="Worker processes.  [2]")
@click.option("--redis", default="local://", help="Where Redis is.  [a server of our own]")
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON to stdout.")
@click.option("--strict", is_flag=True, help="Exit with 1 if a link is broken.")
@click.option("--keep-running", is_flag=True, help="Keep serving afterwards, until Ctrl-C.")
def main(
    targets: Sequence[str],
    external: bool,
    workers: int,
    redis: str,
    as_json: bool,
    strict: bool,
    keep_running: bool,
) -> None:
    # Everything is closed in order then, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=as_json)
    with ExitStack() as stack:
        screen = Screen(console)
        sites = open_sites(targets or [str(ROOT)], stack)
        try:
            helpers = PyTaskHelpers(redis)
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from None
        stack.callback(helpers.connector.close)
        # local:// has started a server for us; the workers are told where it listens.
        url = helpers.connector.url or redis
        pool = Workers(workers, url, stack.enter_context(tempfile.TemporaryFile()))
        stack.callback(pool.close)
        program = Program(Crawl(helpers.redis, secrets.token_hex(3)), helpers, pool, screen)
        stack.callback(program.end)
        screen.say(f"Redis at {url}, workers {', '.join(map(str, pool.pids))}")

        try:
            report = program.run(sites, external)
        except KeyboardInterrupt:
            screen.say("Stopped.")
            sys.exit(130)
        except WorkersLost as error:
            raise click.ClickException(str(error)) from None
        if as_json:
            click.echo(json.dumps(report, indent=2))
        else:
            print_report(report, console)
        if keep_running:
            screen.say(f"Still serving {' '.join(sites)}; Ctrl-C ends it.")
            wait_for_interrupt()
    sys.exit(1 if report["failed"] or (strict and report["broken"]) else 0)


def open_sites(targets: Sequence[str], stack: ExitStack) -> dict[str, str]:
    """Serve the folders among the targets; return where to begin, and how to call that."""
    labels = {}
    for target in targets:
        if target.startswith(("http://", "https://")):
            labels[target] = target
        elif Path(target).is_dir():
            site = Site(Path(target))
            stack.callback(site.close)
            labels[site.url] = "" if len(targets) == 1 else f"{site.folder.name}/"
        else:
            raise click.UsageError(f"{target} is neither a folder nor an http(s) URL")
    return labels


def wait_for_interrupt() -> None:
    """Return when Ctrl-C is pressed."""
    try:
        while True:
            gevent.sleep(3600)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
