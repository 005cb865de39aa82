"""arq."""

import asyncio

import work
from arq import create_pool
from arq.connections import RedisSettings

SETTINGS = RedisSettings.from_dsn(work.redis_url())


async def noop(ctx):
    return 1


async def stamp(ctx, index):
    work.stamp(index)
    return 1


async def nap(ctx, index, seconds):
    work.stamp(index)
    await asyncio.sleep(seconds)
    return 1


class WorkerSettings:
    functions = (noop, stamp, nap)
    redis_settings = SETTINGS
    max_jobs = work.concurrency()
    job_timeout = 7200
    log_results = False


class Client:
    async def open(self):
        self.pool = await create_pool(SETTINGS)

    async def send(self, name, *args):
        await self.pool.enqueue_job(name, *args)
