"""A client on event loops of asyncio, in an interpreter that nobody has patched: URL OPTIONS."""

import asyncio
import json
import logging
import sys
import threading
import time

from pytask import PyTaskHelpers, TaskCrashed, TaskNotFound

logging.basicConfig(level=logging.INFO)
helpers = PyTaskHelpers(sys.argv[1], **json.loads(sys.argv[2]))


async def fail(future: object) -> str:
    try:
        await future  # type: ignore[misc]
    except (TaskCrashed, TaskNotFound) as error:
        return type(error).__name__
    return "no error"


async def main() -> list[object]:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    counting = asyncio.create_task(count())
    futures = [helpers.submit("in-greenlet", {"value": number}, watch=True) for number in range(50)]
    found = await asyncio.gather(*futures, *futures[:3])
    assert found == [*range(50), 0, 1, 2], found
    failed = helpers.submit("in-greenlet", {"what": "sold_out"}, watch=True)
    errors = [await fail(failed), await fail(helpers.future("nowhere"))]

    never = helpers.submit("in-greenlet", {"what": "waits"}, cleanup=False)
    before = turns
    try:
        await asyncio.wait_for(never, 0.3)  # type: ignore[arg-type]
        errors.append("no time-out")
    except TimeoutError:
        pass
    assert turns - before > 5, "the loop stood still"
    never.stop()
    counting.cancel()
    return [errors, len(found)]


loops: list[object] = []
threads = [threading.Thread(target=lambda: loops.append(asyncio.run(main()))) for _ in range(2)]
for thread in threads:
    thread.start()
loops.append(asyncio.run(main()))
for thread in threads:
    thread.join(60)

# Plain threads of the same process, beside the loops and after them.
values: list[object] = []
future = helpers.submit("in-greenlet", {"value": "plain"}, watch=True)
waiting = [threading.Thread(target=lambda: values.append(future.result(30))) for _ in range(5)]
for thread in waiting:
    thread.start()
for thread in waiting:
    thread.join(30)

told: list[object] = []
helpers.submit("in-greenlet", {"value": "told"}, callback=lambda one: told.append(one.result(0)))
until = time.monotonic() + 30
while not told and time.monotonic() < until:
    time.sleep(0.01)
left = [one.name for one in threading.enumerate() if one.name == "pytask-waiting"]
helpers.close()
sys.stdout.write(json.dumps([loops, values, told, len(left), "gevent" in sys.modules]))
