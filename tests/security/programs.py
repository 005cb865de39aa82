"""Programs under test: a worker with a bit of everything, and one call of the command line."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.worker import ROOT

WORKER = """
    from gevent import monkey
    monkey.patch_all()

    import logging
    import sys
    import gevent
    from pytask import Cleanup, Monitor, PyTask, Task
    from tests.support.tell import tell

    class Add(Task):
        NAME = "security/add"
        def __init__(self, a=0, b=0):
            self.a, self.b = a, b
        def start(self):
            self.emit("adding", [self.a, self.b])
            return self.a + self.b

    class Rest(Task):
        NAME = "security/rest"
        def start(self):
            tell("resting", task=self.id)
            gevent.sleep(600)

    logging.basicConfig(level=logging.INFO)
    app = PyTask(sys.argv[1], worker_timeout=2, redis_grace=1.5, beat_interval=0.5)
    app.add_tasks(Monitor, Cleanup, Add, Rest)
    app.start_local_task("pytask/monitor", loop_interval=1)
    if len(sys.argv) > 2:
        app.start_local_task("pytask/cleanup")
    app.run()
"""


def run_command(*words: str, timeout: float = 30.0) -> "subprocess.CompletedProcess[str]":
    """Run ``pytask`` with a command line and return how it ended."""
    environment = {name: value for name, value in os.environ.items() if "PYTASK" not in name}
    path = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "pytask", *words],
        env={**environment, "PYTHONPATH": path},
        cwd=Path(__file__).parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
    )
