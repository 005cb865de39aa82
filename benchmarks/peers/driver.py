"""The client side, run inside the environment of a system: ``python driver.py NAME``.

It reads a JSON object per line, does what that says with the client of the system, and answers with
one. Standard library only, because nine environments run it.
"""

import asyncio
import importlib
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps"))

import work

#: Tasks per call of a bulk API.
BULK = 5_000
#: Seconds between two probes: the worker has become idle again.
PAUSE = (0.003, 0.008)


class Driver:
    """Starts tasks.

    Args:
        client: Of the system; ``send_many`` is there if the system has a bulk API, and
            ``concurrent`` is true if several coroutines may send at a time.
    """

    def __init__(self, client):
        self.client = client
        self.send_many = getattr(client, "send_many", None)
        self.concurrent = getattr(client, "concurrent", False)

    async def ready(self):
        return {}

    async def one_by_one(self, seconds):
        """Start tasks, each after the other, for so long."""
        send, count = self.client.send, 0
        began_at = time.perf_counter()
        while (spent := time.perf_counter() - began_at) < seconds:
            for _ in range(20):
                await send("noop")
            count += 20
        return {"count": count, "seconds": spent}

    async def bulk(self, seconds):
        """Start tasks with the bulk API for so long."""
        count = 0
        began_at = time.perf_counter()
        while (spent := time.perf_counter() - began_at) < seconds:
            await self.send_many("noop", [()] * BULK)
            count += BULK
        return {"count": count, "seconds": spent}

    async def fill(self, name, count, args=(), numbered=False, first=0):
        """Start so many tasks, in whatever way is quickest."""
        calls = [(first + index, *args) if numbered else tuple(args) for index in range(count)]
        step = BULK if self.send_many else 50
        for start in range(0, count, step):
            some = calls[start : start + step]
            if self.send_many:
                await self.send_many(name, some)
            elif self.concurrent:
                await asyncio.gather(*(self.client.send(name, *call) for call in some))
            else:
                for call in some:
                    await self.client.send(name, *call)
        return {"count": count}

    async def probe(self, count, seconds, first=0, settle=0.0):
        """Start a task, wait until it has begun, and again; return how long each waited."""
        waits, deadline = [], time.monotonic() + seconds
        await asyncio.sleep(settle)
        for index in range(first, first + count):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(random.uniform(*PAUSE))
            sent_at = time.monotonic()
            await self.client.send("stamp", index)
            while not work.read(index):
                if time.monotonic() > sent_at + 10:
                    return {"waits": waits, "stuck": index}
                await asyncio.sleep(0.0005)
            waits.append(work.read(index) - sent_at)
        return {"waits": waits}

    async def load(self, rate, seconds):
        """Start tasks at an even rate; return how many there were."""
        began_at, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began_at) < seconds:
            due = int(rate * passed) - sent
            if due > 1 and self.send_many:
                await self.send_many("noop", [()] * due)
            else:
                for _ in range(due):
                    await self.client.send("noop")
            sent += max(0, due)
            await asyncio.sleep(0.005)
        return {"count": sent, "seconds": time.monotonic() - began_at}


async def main(name):
    # Whatever a library prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    client = importlib.import_module(f"{name}_app").Client()
    await client.open()
    driver = Driver(client)
    for line in sys.stdin:
        request = json.loads(line)
        answer = await getattr(driver, request.pop("do"))(**request)
        answers.write(json.dumps(answer) + "\n")
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
