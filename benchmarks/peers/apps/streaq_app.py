"""streaq."""

import asyncio
import contextlib

import work
from streaq import Worker

worker = Worker(redis_url=work.redis_url(), concurrency=work.concurrency(), queue_name="bench")


@worker.task(silent=True, ttl=3600)
async def noop() -> int:
    return 1


@worker.task(silent=True, ttl=3600)
async def stamp(index: int) -> int:
    work.stamp(index)
    return 1


@worker.task(silent=True, ttl=3600)
async def nap(index: int, seconds: float) -> int:
    work.stamp(index)
    await asyncio.sleep(seconds)
    return 1


TASKS = {"noop": noop, "stamp": stamp, "nap": nap}


class Client:
    concurrent = True

    async def open(self):
        self.stack = contextlib.AsyncExitStack()
        await self.stack.enter_async_context(worker)

    async def send(self, name, *args):
        await TASKS[name].enqueue(*args)

    async def send_many(self, name, calls):
        await worker.enqueue_many([TASKS[name].enqueue(*args) for args in calls])
