"""Dramatiq on gevent, with the results middleware."""

import time

import dramatiq
import redis
import work
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

# redis-py 8 allows 100 connections unless told otherwise, fewer than there are threads.
client = redis.Redis.from_url(work.redis_url(), max_connections=20_000)
broker = RedisBroker(client=client)
broker.add_middleware(Results(backend=RedisBackend(client=client), store_results=True))
dramatiq.set_broker(broker)

# No time limit, and no limit of age: an hour's sleep must not be aborted.
_LONG = 4 * 3600 * 1000


@dramatiq.actor(time_limit=_LONG)
def noop():
    return 1


@dramatiq.actor(time_limit=_LONG)
def stamp(index):
    work.stamp(index)
    return 1


@dramatiq.actor(time_limit=_LONG)
def nap(index, seconds):
    work.stamp(index)
    time.sleep(seconds)
    return 1


TASKS = {"noop": noop, "stamp": stamp, "nap": nap}


class Client:
    async def open(self):
        pass

    async def send(self, name, *args):
        TASKS[name].send(*args)
