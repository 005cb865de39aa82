"""taskiq on a Redis stream, which is its broker with acknowledgements."""

import asyncio

import work
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = RedisStreamBroker(
    url=work.redis_url(),
    # What is not acknowledged for so long is delivered again.
    idle_timeout=7_200_000,
).with_result_backend(RedisAsyncResultBackend(redis_url=work.redis_url(), prefix_str="result"))


@broker.task(task_name="noop")
async def noop():
    return 1


@broker.task(task_name="stamp")
async def stamp(index: int):
    work.stamp(index)
    return 1


@broker.task(task_name="nap")
async def nap(index: int, seconds: float):
    work.stamp(index)
    await asyncio.sleep(seconds)
    return 1


TASKS = {"noop": noop, "stamp": stamp, "nap": nap}


class Client:
    concurrent = True

    async def open(self):
        await broker.startup()

    async def send(self, name, *args):
        await TASKS[name].kiq(*args)
