"""The command line: ``pytask`` and ``python -m pytask``.

One module per group of commands; each command is a thin layer over the public API. What they
share::

    options   declares options, each with its environment variable
    session   from the options to helpers on the right Redis
    apps      finds the app that ``-A module:app`` names
    output    tables for people, JSON lines for programs
    errors    exit codes, and one line for whatever went wrong

This module imports nothing: :func:`main` lets gevent patch the standard library first.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    from gevent import monkey

    monkey.patch_all()
    import sys

    from gevent.hub import get_hub

    from pytask.cli.errors import run
    from pytask.cli.root import pytask

    # Ctrl-C is how people end things; the event loop would print it like an error.
    hub = get_hub()
    hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)
    sys.exit(run(pytask, sys.argv[1:]))
