"""Huey with greenlet workers."""

import time

import work
from huey import RedisHuey
from redis import ConnectionPool

# Each greenlet blocks on a connection of its own; redis-py 8 allows 100 unless told otherwise.
huey = RedisHuey(
    "bench", connection_pool=ConnectionPool.from_url(work.redis_url(), max_connections=20_000)
)


@huey.task()
def noop():
    return 1


@huey.task()
def stamp(index):
    work.stamp(index)
    return 1


@huey.task()
def nap(index, seconds):
    work.stamp(index)
    time.sleep(seconds)
    return 1


TASKS = {"noop": noop, "stamp": stamp, "nap": nap}


class Client:
    async def open(self):
        pass

    async def send(self, name, *args):
        TASKS[name](*args)
