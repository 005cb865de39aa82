"""A whole worker: ``python -m examples.worker``, or ``pytask worker -A examples.worker``."""

# Greenlets for everything that waits; this comes before all other imports.
from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

from examples.tasks import Clock, Greet  # noqa: E402
from pytask import Cleanup, Monitor, PyTask  # noqa: E402

app = PyTask(os.environ.get("PYTASK_REDIS", "redis://localhost:6379/0"))
app.add_tasks(Greet, Clock, Monitor, Cleanup)

if __name__ == "__main__":
    # These two watch over the tasks of all workers; any number of them may run.
    app.start_local_task("pytask/monitor")
    app.start_local_task("pytask/cleanup")
    app.run()
