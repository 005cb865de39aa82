"""F28 to F36: a single Redis that dies, stalls, forgets, is full or changes its place."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from pytask.exceptions import RedisRefused, RedisUnavailable
from tests.faults.account import (
    TUNED,
    Client,
    client,
    local_tasks,
    producing,
    wait_ended_once,
)
from tests.faults.conftest import FAST, MONITOR, Launch, Recovery, of_state, state_of
from tests.support.servers import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey")

__all__ = ["client"]  # a fixture


@pytest.mark.slow
def test_f28_a_redis_that_is_killed_and_kept_an_aof_has_lost_no_confirmed_task(
    disposable_server: Any, launch: Launch, client: Client
) -> None:
    # With everysec Redis may hold back what it confirmed for two seconds while the disk is busy.
    server = disposable_server("valkey", appendonly="yes", appendfsync="always")
    helpers = client(server.url)
    launch(MONITOR, at=server.url)
    ids = helpers.start_tasks([("sleeper", {"seconds": 2})] * 20)
    with producing(helpers, "produced-{}".format) as confirmed:
        for _ in range(3):
            known = len(confirmed)
            wait_until(lambda known=known: len(confirmed) > known + 50)
            server.restart(kill=True)
            recovery = Recovery(3.0)
            wait_until(lambda: state_of(helpers, confirmed[-1]) == "SUCCESS")
            recovery.check()
    # What nobody was told about may exist as well.
    started = {*helpers.get_end_task_ids(), *helpers.get_new_task_ids()}
    wait_ended_once(helpers, sorted({*ids, *confirmed, *(started - set(ids))}))


@pytest.mark.slow
def test_f28_without_an_aof_only_what_was_saved_is_back_and_workers_carry_on(
    disposable_server: Any, launch: Launch, client: Client
) -> None:
    server = disposable_server("valkey")
    helpers = client(server.url)
    saved = helpers.submit("echo", queue="later").id
    server.command("SAVE")
    worker = launch(MONITOR, at=server.url, **FAST)
    running = helpers.start_task("ticker")
    unsaved = helpers.submit("echo", queue="later").id
    worker.wait_for_event("tick", id=running)
    (monitor,) = wait_until(lambda: local_tasks(helpers))
    server.restart(kill=True)
    # Whatever ran is stopped, and nothing is written for it; local tasks start anew.
    worker.wait_for_line(f"task {running} .* is not ours any more|running tasks are stopped")
    wait_until(lambda: [one for one in local_tasks(helpers) if one != monitor])
    assert helpers.get_task(running) == helpers.get_task(unsaved) == {}
    assert state_of(helpers, saved) == "WAIT"
    of_state(helpers, [helpers.start_task("echo")], "SUCCESS")
    assert worker.running


@pytest.mark.slow
def test_f29_a_redis_that_loads_its_data_for_seconds_is_waited_for(
    disposable_server: Any, launch: Launch, client: Client
) -> None:
    server = disposable_server(
        "valkey", appendonly="yes", appendfsync="always", key_load_delay=1000
    )
    server.command("EVAL", "for i = 1, 5000 do redis.call('SET', 'key-' .. i, i) end", 0)
    helpers = client(server.url, redis_patience=20.0)
    worker = launch(MONITOR, at=server.url, **FAST)
    ids = helpers.start_tasks([("sleeper", {"seconds": 0, "first": 600})] * 10)
    worker.wait_for_event("started", count=10)
    server.kill()
    server.launch()
    worker.wait_for_line("LOADING")
    worker.wait_for_line("11 running tasks are stopped")
    ids.append(helpers.start_task("echo"))  # a client waits as well
    server.wait_ready()
    recovery = Recovery(3.0)
    of_state(helpers, ids, "SUCCESS")
    recovery.check()
    wait_ended_once(helpers, ids)


@pytest.mark.slow
def test_f30_after_a_stall_longer_than_task_timeout_nobody_is_reaped(
    disposable_server: Any, launch: Launch, client: Client
) -> None:
    server = disposable_server("valkey")
    helpers = client(server.url)
    workers = [
        launch(
            f'{MONITOR}={{"loop_interval": 0.2, "task_timeout": 1.5}}',
            at=server.url,
            program=TUNED,
            update_task_interval=0.4,
            redis_grace=9.0,
            worker_timeout=10.0,
            concurrency=20,
        )
        for _ in range(2)
    ]
    ids = helpers.start_tasks([("sleeper", {"seconds": 7})] * 40)
    wait_until(lambda: sum(worker.output.count('"started"') for worker in workers) == 40)
    # Both Monitors look at all leases now; longer than a reply may take, than the time-out of
    # the Monitors, and shorter than the grace after which workers give up by themselves.
    stall = gevent.spawn(server.command, "DEBUG", "SLEEP", 3, timeout=20)
    stall.get(timeout=20)
    wait_ended_once(helpers, ids)
    assert {helpers.get_task(one, "attempts") for one in ids} == {"1"}
    assert not any("lost its worker" in worker.output for worker in workers)


#: Computes for so many seconds; everybody else is answered BUSY.
BUSY = """
local began = redis.call('TIME')
repeat
  local now = redis.call('TIME')
until (now[1] - began[1]) + (now[2] - began[2]) / 1000000 > tonumber(ARGV[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["pause writes", "pause all", "busy"])
def test_f31_a_paused_or_busy_redis_is_waited_for_and_no_task_notices(
    disposable_server: Any, launch: Launch, client: Client, fault: str
) -> None:
    server = disposable_server("valkey", lua_time_limit=100)
    helpers = client(server.url)
    worker = launch(MONITOR, at=server.url)
    ids = helpers.start_tasks([("sleeper", {"seconds": 1})] * 10)
    worker.wait_for_event("started", count=10)
    seconds = 2.0
    began_at = time.monotonic()
    if fault == "busy":
        gevent.spawn(server.command, "EVAL", BUSY, 0, seconds, timeout=20)
        wait_until(lambda: not server.answers())
    else:
        what = "WRITE" if fault == "pause writes" else "ALL"
        server.command("CLIENT", "PAUSE", int(seconds * 1000), what)
    ids.append(helpers.start_task("echo"))
    assert time.monotonic() - began_at > seconds - 0.1, "the fault was not there"
    recovery = Recovery(2.0)
    of_state(helpers, ids, "SUCCESS")
    recovery.check()
    wait_ended_once(helpers, ids)
    assert {helpers.get_task(one, "attempts") for one in ids} == {"1"}
    assert "tasks are stopped" not in worker.output


def test_f32_a_redis_that_forgets_its_scripts_all_the_time_is_told_them_again(
    disposable_server: Any, launch: Launch, client: Client
) -> None:
    server = disposable_server("valkey")
    helpers = client(server.url)
    worker = launch(MONITOR, at=server.url)
    flushes = 0

    def flush() -> None:
        nonlocal flushes
        while True:
            server.command("SCRIPT", "FLUSH")
            flushes += 1
            gevent.sleep(0.02)

    flusher = gevent.spawn(flush)
    with producing(helpers, "produced-{}".format, pause=0.002) as confirmed:
        wait_until(lambda: flushes > 60 and len(confirmed) > 100)
    flusher.kill()
    wait_ended_once(helpers, confirmed)
    assert {helpers.get_task(one, "attempts") for one in confirmed} == {"1"}
    assert "ERROR" not in worker.output and "NOSCRIPT" not in worker.output


def test_f33_a_full_redis_refuses_new_tasks_and_lets_running_ones_end(
    disposable_server: Any, launch: Launch, client: Client
) -> None:
    server = disposable_server("valkey")
    helpers = client(server.url)
    worker = launch(MONITOR, at=server.url)
    short = helpers.start_tasks([("sleeper", {"seconds": 1})] * 10)
    stopped, requeued = helpers.start_tasks([("sleeper", {})] * 2)
    worker.wait_for_event("started", count=12)
    server.command("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(RedisRefused, match="OOM"):
        helpers.start_task("echo", "refused")
    assert helpers.get_task("refused") == {}
    of_state(helpers, short, "SUCCESS")
    helpers.stop_task(stopped)
    of_state(helpers, [stopped], "STOPPED")
    worker.wait_for_event("started", id=requeued)
    beaten_at = float(helpers.get_task(requeued, "last_update"))
    wait_until(lambda: float(helpers.get_task(requeued, "last_update")) > beaten_at)
    assert worker.stop() == 0
    assert state_of(helpers, requeued) == "WAIT"
    server.command("CONFIG", "SET", "maxmemory", 0)
    helpers.remove_task(stopped)
    helpers.remove_task(requeued)
    second = launch(at=server.url)
    wait_ended_once(helpers, [*short, helpers.start_task("echo")])
    assert second.running


def test_f34_a_redis_that_evicts_keys_is_warned_of_and_what_vanishes_harms_no_worker(
    disposable_server: Any, launch: Launch, client: Client
) -> None:
    server = disposable_server("valkey", maxmemory_policy="allkeys-random")
    helpers = client(server.url)
    worker = launch(MONITOR, at=server.url, **FAST)
    worker.wait_for_line("WARNING .*maxmemory-policy of Redis is allkeys-random: it may drop tasks")
    ids = helpers.start_tasks([("ticker", {})] * 20)
    worker.wait_for_event("tick", id=ids[-1])
    raw = server.client()
    used = int(server.info("memory")["used_memory"])
    server.command("CONFIG", "SET", "maxmemory", used + 100_000)
    number = 0
    # Until the records of some of our tasks were evicted.
    while all(raw.exists(helpers.keys.of(one).record(one)) for one in ids):
        raw.set(f"junk-{number}", "x" * 1000)
        number += 1
    server.command("CONFIG", "SET", "maxmemory", 0)
    worker.wait_for_line("is not ours any more")
    of_state(helpers, [helpers.start_task("echo")], "SUCCESS")
    assert worker.running and "Traceback" not in worker.output


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "pytask-test", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounting.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted: {mounting.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(disk: Path) -> Path:
    """Write a file until the disk is full."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


@pytest.mark.slow
@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
def test_f35_a_full_disk_under_the_aof_is_ridden_out(
    small_disk: Path, disposable_server: Any, launch: Launch, client: Client, appendfsync: str
) -> None:
    server: Server = disposable_server(
        "valkey", dir=small_disk, appendonly="yes", appendfsync=appendfsync
    )
    helpers = client(server.url)
    hasty = client(server.url, redis_patience=0.5)
    worker = launch(MONITOR, at=server.url)
    ids = helpers.start_tasks([("sleeper", {"seconds": 1})] * 10)
    worker.wait_for_event("started", count=10)
    filler = fill(small_disk)
    refused = []

    def is_refused() -> bool:
        # Until the first write fails Redis takes them; those count.
        try:
            ids.append(hasty.start_task("echo"))
        except RedisUnavailable as error:
            refused.append(str(error))
        return bool(refused)

    wait_until(is_refused)
    assert server.process is not None
    if appendfsync == "always":
        wait_until(lambda: server.process.poll() is not None, message="the server ends")
    else:
        assert "MISCONF" in refused[0]
        worker.wait_for_event("ended", count=10)
        assert state_of(helpers, ids[0]) == "RUNNING"  # the outcome is held
    filler.unlink()
    if appendfsync == "always":
        server.start()
    # Perhaps a refused request had been carried out; nobody was promised anything.
    known = {*ids, *helpers.get_end_task_ids(), *helpers.get_new_task_ids()}
    recovery = Recovery(5.0)
    wait_ended_once(helpers, sorted(known))
    recovery.check()
    wait_ended_once(helpers, sorted({*known, helpers.start_task("echo")}))
