"""SAQ."""

import asyncio

import work
from saq import Job, Queue

queue = Queue.from_url(work.redis_url(), name="bench")


async def noop(ctx):
    return 1


async def stamp(ctx, *, index):
    work.stamp(index)
    return 1


async def nap(ctx, *, index, seconds):
    work.stamp(index)
    await asyncio.sleep(seconds)
    return 1


settings = {
    "queue": queue,
    "functions": [noop, stamp, nap],
    "concurrency": work.concurrency(),
}
NAMES = {"noop": (), "stamp": ("index",), "nap": ("index", "seconds")}


class Client:
    concurrent = True

    async def open(self):
        await queue.connect()

    async def send(self, name, *args):
        # The default time-out of 10 s would end, and start again, what sleeps for longer.
        await queue.enqueue(
            Job(name, kwargs=dict(zip(NAMES[name], args, strict=True)), timeout=7200)
        )
