"""The worker of :mod:`tests.faults.program`, with arguments for local tasks and one more task.

``tuned_program.py ADDRESS OPTIONS [NAME=JSON ...]``
"""

# ruff: noqa: E402  (patching has to come before the imports below it)
from gevent import monkey

monkey.patch_all()

import json
import logging
import os
import sys
import time

from pytask import PyTask, Task
from tests.faults.program import task_classes
from tests.support.tell import tell


class Outcome(Task):
    """Tells its token, and returns it after a while."""

    NAME = "outcome"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def start(self) -> str:
        tell("outcome", id=self.id, token=self.token)
        time.sleep(self.seconds)
        return self.token


def main() -> None:
    # Proof for tests of clocks that the fault is there.
    tell("clock", wall=time.time(), pid=os.getpid())
    app = PyTask(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
    app.add_tasks(*task_classes(), Outcome)
    for word in sys.argv[3:]:
        name, _, data = word.partition("=")
        app.start_local_task(name, **json.loads(data or "{}"))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    tell("ready", worker=app.worker_id)
    app.run()
    tell("returned")


if __name__ == "__main__":
    main()
