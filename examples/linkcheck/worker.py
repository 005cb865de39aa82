"""One worker process of the link checker; ``PYTASK_REDIS`` tells it where Redis is."""

import sys

import gevent
from gevent.fileobject import FileObject

from pytask import Cleanup, Monitor

from . import app


def end_with_starter() -> None:
    """Stop when standard input is closed: the program that started us holds the other end."""
    FileObject(sys.stdin.fileno(), "rb", closefd=False).read()
    app.stop()


def main() -> None:
    # Any number of workers may run these two; they watch over the tasks of all of them.
    app.add_tasks(Monitor, Cleanup)
    app.start_local_task("pytask/monitor")
    app.start_local_task("pytask/cleanup")
    gevent.spawn(end_with_starter)
    app.run()


if __name__ == "__main__":
    main()
