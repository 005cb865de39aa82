"""A link checker: one task for each page, one for each link, and a service beside them.

    python -m examples.linkcheck                          # this project's own files and docs
    python -m examples.linkcheck some/folder https://example.org/docs/ --external

Where to begin reading:

    tasks.py     the tasks, everything a worker does
    crawl.py     what is known and what is done, kept in Redis by the tasks themselves
    __main__.py  the program: serves folders over HTTP, starts workers, waits, reports
    service.py   how a running service is reloaded, stopped and restarted

The app below is all a worker needs. The program starts ``python -m examples.linkcheck.worker``;
``pytask worker -A examples.linkcheck`` runs the same one.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

from pytask import PyTask  # noqa: E402

from .tasks import CheckLink, CheckPage, Pulse  # noqa: E402

app = PyTask(os.environ.get("PYTASK_REDIS", "redis://localhost:6379/0"), concurrency=100)
app.add_tasks(CheckPage, CheckLink, Pulse)
