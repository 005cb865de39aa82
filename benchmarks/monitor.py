"""Whether the Monitor finds a few stale tasks among very many without reading the others.

The leases of the living are as old as they get: until a refresh begins, and as long as one round of
it takes with 100,000 tasks. Nobody refreshes them here, so time is frozen instead: the
time-outs are lengthened by as much as the clock has advanced since.
"""

import time

from pytask.worker.pace import EARLY

from .harness import Bench, Metrics, Place, Target, at_most

#: Running tasks, as the scripts would have written them. It names keys it does not declare, which a
#: single server lets pass.
FILL = """
local first, count, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[5]
local oldest, step = tonumber(ARGV[3]), tonumber(ARGV[4])
for i = first, first + count - 1 do
  local id = 'bench-' .. i
  local at = string.format('%.6f', oldest + (i - first) * step)
  redis.call('HSET', ARGV[6] .. id, 'task', 'bench/sleep', 'data', '{}', 'state', 'RUNNING',
    'run', '1-' .. i, 'worker', worker, 'attempts', 1, 'last_update', at)
  redis.call('SADD', KEYS[1], id)
  redis.call('ZADD', KEYS[2], at, id)
end
"""
FILL_BATCH = 10_000

#: Seconds one round of heartbeats takes with 100,000 tasks, as measured here.
HEARTBEAT_ROUND = 1.1
#: As many as the Monitor looks at per call.
REAP_BATCH = 200


def measure(bench: Bench, metrics: Metrics) -> None:
    """Reap what ran out, and what a dead worker left."""
    active = bench.size(1_000_000, 2_000)
    stale = bench.size(1_000, 50)
    with bench.place() as place:
        bench.say(f"filling in {active:,} active tasks")
        crowd = _Crowd(place, stale)
        interval = place.helpers.settings.update_task_interval
        crowd.add(active, "living", 0.0, EARLY * interval + HEARTBEAT_ROUND)
        for round_ in range(bench.rounds):
            bench.say(f"round {round_ + 1}: {stale:,} stale ones")
            crowd.add(stale, "living", 120.0, 180.0)
            crowd.reap(metrics, "leases past task_timeout", at_most(stale))
            crowd.add(stale, "dead", 6.2, 10.0)
            crowd.reap(metrics, "leases of a dead worker", at_most(stale), "dead")


class _Crowd:
    """Running tasks with leases of chosen ages.

    Args:
        place: Where.
        stale: How many of them are to be found each time.
    """

    def __init__(self, place: Place, stale: int) -> None:
        self._place = place
        self._stale = stale
        self._names = place.helpers.keys.partitions[0]
        self._fill = place.client.register_script(FILL)
        self._count = 0
        self._frozen_at = self._server_time()

    def add(self, count: int, worker: str, youngest: float, oldest: float) -> None:
        """Add tasks whose leases are between so many seconds old."""
        step = (oldest - youngest) / count
        for done in range(0, count, FILL_BATCH):
            size = min(FILL_BATCH, count - done)
            first = self._frozen_at - oldest + done * step
            self._fill(
                keys=[self._names.tasks, self._names.leases],
                args=[self._count, size, first, step, worker, self._names.record_prefix],
            )
            self._count += size

    def reap(self, metrics: Metrics, what: str, target: Target, *dead: str) -> None:
        """Do what the Monitor does at one look, and count what Redis did for it."""
        store, settings = self._place.helpers.store, self._place.helpers.settings
        before = self._place.calls()
        began_at = time.monotonic()
        examined = reaped = 0
        while True:
            passed = self._server_time() - self._frozen_at
            round_ = store.reap(
                0,
                task_timeout=settings.task_timeout + passed,
                worker_timeout=settings.worker_timeout + passed,
                dead_workers=dead,
                limit=REAP_BATCH,
                skip=examined - reaped,
            )
            examined += round_.examined
            reaped += len(round_.reaped)
            if round_.examined < REAP_BATCH:
                break
        milliseconds = 1e3 * (time.monotonic() - began_at)
        read = self._place.calls().get("hmget", 0) - before.get("hmget", 0)
        metrics.add(f"{what}, {self._stale:,} of very many", milliseconds, "ms")
        metrics.add("  records read", read, "records", target, part_of=what)
        metrics.add("  not taken back", self._stale - reaped, "tasks", at_most(0), part_of=what)

    def _server_time(self) -> float:
        seconds, microseconds = self._place.client.time()
        return float(seconds) + float(microseconds) / 1e6
