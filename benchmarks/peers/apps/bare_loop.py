"""The scripts of pytask in a bare loop: no greenlets, no tasks, nothing but claim and finish.

What a worker reaches is held against this.
"""

import time

import work

from pytask import PyTaskHelpers
from pytask.records import Outcome
from pytask.states import State


def main():
    store = PyTaskHelpers(work.redis_url()).store
    batch = store.settings.claim_batch
    number = 0
    while True:
        number += 1
        reply = store.claim(
            0, worker="bare", queues=["default"], limit=batch, request=f"{number:013x}"
        )
        if reply.claimed:
            store.finish(
                0, [Outcome(one.task_id, one.token, State.SUCCESS, b"1") for one in reply.claimed]
            )
        else:
            time.sleep(0.01)


if __name__ == "__main__":
    main()
