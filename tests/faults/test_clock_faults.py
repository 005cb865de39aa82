"""F46 and F47: clocks of workers and of Redis that are wrong, differ, and jump."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytask.tasks import monitor as monitor_module
from pytask.tasks.monitor import CALM_INTERVAL, STALL, Witness
from tests.faults.account import TUNED, Client, client, local_tasks, wait_ended_once
from tests.faults.conftest import MONITOR, Launch, Recovery, of_state
from tests.support.clocks import Clock, libfaketime
from tests.support.servers import Server
from tests.support.waiting import wait_until

__all__ = ["client"]  # a fixture

pytestmark = pytest.mark.topologies("valkey")

HOUR = 3600.0

#: A Monitor that checks all leases each second.
EAGER = f'{MONITOR}={{"loop_interval": 1}}'


@pytest.mark.slow
def test_f46_workers_whose_clocks_are_two_hours_apart_and_jump_agree_about_every_lease(
    launch: Launch, helpers: Any, tmp_path: Path
) -> None:
    # The library moves all clocks of a process but the monotonic one; the patch, only time.time.
    by = "libfaketime" if libfaketime() else "python"
    clocks = [Clock(tmp_path / name, by) for name in ("ahead", "behind")]
    clocks[0].set(HOUR)
    clocks[1].set(-HOUR)
    workers = [
        launch(EAGER, program=TUNED, env=clock.env, update_task_interval=1.0, concurrency=10)
        for clock in clocks
    ]
    walls = [worker.wait_for_event("clock")["wall"] for worker in workers]
    assert walls[0] - walls[1] == pytest.approx(2 * HOUR, abs=10)
    ids = helpers.start_tasks([("sleeper", {"seconds": 5})] * 20)
    delayed = helpers.submit("echo", delay=2.0).id
    began_at = time.monotonic()
    wait_until(lambda: sum(one.output.count('"started"') for one in workers) == 20)
    for offset in (-HOUR, HOUR, 0.0, 5 * HOUR):
        clocks[0].set(offset)
        clocks[1].set(-offset)
        time.sleep(0.8)
    of_state(helpers, [delayed], "SUCCESS")
    assert time.monotonic() - began_at > 2.0
    wait_ended_once(helpers, [*ids, delayed])
    assert {helpers.get_task(one, "attempts") for one in ids} == {"1"}
    for name in ("created", "started", "ended"):
        assert abs(float(helpers.get_task(ids[0], name)) - time.time()) < 60
    # And who dies is missed as soon as by right clocks.
    (late,) = helpers.start_tasks([("sleeper", {"seconds": 0, "first": 600})])
    wait_until(lambda: sum(f'"{late}"' in one.output for one in workers) == 1)
    victim, other = sorted(workers, key=lambda one: f'"{late}"' not in one.output)
    victim.kill()
    recovery = Recovery(8.0)
    other.wait_for_event("started", id=late, attempt=2)
    recovery.check()


@pytest.fixture
def skewed_server(tmp_path: Path) -> Iterator[Callable[..., tuple[Server, Clock]]]:
    """Start a Valkey whose clock can be set; Debian's Redis does not start under libfaketime."""
    if libfaketime() is None:
        pytest.skip("libfaketime is not installed (apt-get install libfaketime)")
    clock = Clock(tmp_path / "clock", "libfaketime")
    server = Server("valkey")
    server._command[:0] = ["env", *(f"{name}={value}" for name, value in clock.env.items())]
    with server:
        yield lambda: (server, clock)


@pytest.mark.slow
@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
def test_f47_a_jump_of_the_clock_of_redis_costs_no_run_and_delays_no_recovery_for_long(
    skewed_server: Any, launch: Launch, client: Client, jump: float
) -> None:
    server, clock = skewed_server()
    helpers = client(server.url)
    workers = [
        launch(EAGER, program=TUNED, at=server.url, update_task_interval=1.0, concurrency=20)
        for _ in range(2)
    ]
    ids = helpers.start_tasks([("sleeper", {"seconds": 6})] * 40)
    wait_until(lambda: sum(one.output.count('"started"') for one in workers) == 40)
    before = int(server.command("TIME")[0])
    clock.set(jump)
    assert abs(int(server.command("TIME")[0]) - before - jump) < 5
    wait_ended_once(helpers, ids)
    # A forward jump makes each lease look an hour old at once; nobody believes it.
    assert {helpers.get_task(one, "attempts") for one in ids} == {"1"}
    wait_until(lambda: len(local_tasks(helpers)) == 2)
    # After the jump the dead are missed as before it.
    (late,) = helpers.start_tasks([("sleeper", {"seconds": 0, "first": 600})])
    wait_until(lambda: sum(f'"{late}"' in one.output for one in workers) == 1)
    victim, other = sorted(workers, key=lambda one: f'"{late}"' not in one.output)
    victim.kill()
    recovery = Recovery(8.0)
    other.wait_for_event("started", id=late, attempt=2)
    recovery.check()


def test_f47_a_monitor_trusts_no_lease_for_a_while_after_a_jump_a_stall_or_a_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the two tests above need libfaketime for, by the part that judges."""
    now = 1_000.0
    monkeypatch.setattr(monitor_module.time, "monotonic", lambda: now)
    witness = Witness()

    def look(after: float, jump: float = 0.0) -> float:
        nonlocal now, server_time
        now += after
        server_time += after + jump
        witness.saw(server_time)
        return witness.healthy_for()

    server_time = 5_000_000.0
    assert witness.healthy_for() == 0.0
    assert [look(1.0) for _ in range(5)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert look(1.0, jump=HOUR) == 0.0
    assert look(1.0) == 1.0
    assert look(1.0, jump=-HOUR) == 0.0
    assert look(1.0) == 1.0
    assert look(1.0, jump=0.5) == 2.0, "a clock that is put right by a little is no jump"
    assert look(CALM_INTERVAL + STALL + 0.1) == 0.0
    assert look(1.0) == 1.0
    witness.lost_sight()
    assert look(1.0) == 0.0
