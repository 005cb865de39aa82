"""pytask."""

import asyncio
import time

import work

from pytask import PyTask, PyTaskHelpers

app = PyTask(work.redis_url(), concurrency=work.concurrency())


@app.task(name="noop")
def noop():
    return 1


@app.task(name="stamp")
def stamp(index):
    work.stamp(index)
    return 1


@app.task(name="nap")
def nap(index, seconds):
    work.stamp(index)
    time.sleep(seconds)
    return 1


@app.task(name="nap_async")
async def nap_async(index, seconds):
    work.stamp(index)
    await asyncio.sleep(seconds)
    return 1


NAMES = {
    "noop": (),
    "stamp": ("index",),
    "nap": ("index", "seconds"),
    "nap_async": ("index", "seconds"),
}


class Client:
    async def open(self):
        self.helpers = PyTaskHelpers(work.redis_url())

    async def send(self, name, *args):
        self.helpers.start_task(name, **dict(zip(NAMES[name], args, strict=True)))

    async def send_many(self, name, calls):
        names = NAMES[name]
        self.helpers.start_tasks((name, dict(zip(names, args, strict=True))) for args in calls)
