"""RQ with the SimpleWorker, which does not fork for each job."""

import time

import work
from redis import Redis
from rq import Queue


def noop():
    return 1


def stamp(index):
    work.stamp(index)
    return 1


def nap(index, seconds):
    work.stamp(index)
    time.sleep(seconds)
    return 1


TASKS = {"noop": noop, "stamp": stamp, "nap": nap}


class Client:
    async def open(self):
        self.queue = Queue("bench", connection=Redis.from_url(work.redis_url()))

    async def send(self, name, *args):
        self.queue.enqueue(TASKS[name], *args)

    async def send_many(self, name, calls):
        self.queue.enqueue_many([Queue.prepare_data(TASKS[name], args) for args in calls])
