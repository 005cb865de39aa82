"""Workers with tasks of all concurrency modes, when they are killed and when they end."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import MONITOR, STEADY, Launch
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey")

MODES = ["greenlet", "thread", "process", "asyncio", "shell"]


@pytest.fixture(scope="session")
def program() -> str:
    return str(Path(__file__).with_name("program_of_modes.py"))


def below(pid: int) -> set[int]:
    """The processes that descend from one."""
    found = {pid}
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def begin(helpers: Any, directory: Path, attempt: int = 1) -> Callable[[], None]:
    """Start a task of each mode and return what waits until all of them run."""
    for name in MODES:
        helpers.submit(name, {"directory": str(directory)}, task_id=f"of-{name}")

    def wait(attempt: int = attempt) -> None:
        for name in MODES:
            wait_until(lambda name=name: list(directory.glob(f"began-{name}-{attempt}-*")))

    return wait


@pytest.mark.slow
def test_a_killed_worker_leaves_no_child_and_its_tasks_move(
    launch: Launch, helpers: Any, tmp_path: Path
) -> None:
    first = launch(**STEADY)
    wait = begin(helpers, tmp_path)
    wait()
    children = below(first.pid)
    assert len(children) > 2
    second = launch(MONITOR, **STEADY)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not [one for one in children if is_alive(one)])
    wait(2)
    (tmp_path / "end").touch()
    for name in MODES:
        wait_until(lambda name=name: helpers.get_task(f"of-{name}").get("state") == "SUCCESS")
        # The one in the killed worker has had none.
        (effect,) = tmp_path.glob(f"effect-{name}-*")
        assert effect.name.split("-")[2] == "2"
    assert second.stop() == 0


def test_a_worker_that_ends_gives_all_back_and_leaves_no_child(
    launch: Launch, helpers: Any, tmp_path: Path
) -> None:
    worker = launch(MONITOR)
    begin(helpers, tmp_path)()
    children = below(worker.pid)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert {helpers.get_task(f"of-{name}")["state"] for name in MODES} == {"WAIT"}
    assert not list(tmp_path.glob("effect-*"))
    wait_until(lambda: not [one for one in children if is_alive(one)])


def test_sigusr1_prints_where_coroutines_are(launch: Launch, helpers: Any, tmp_path: Path) -> None:
    worker = launch()
    begin(helpers, tmp_path)()
    worker.signal(signal.SIGUSR1)
    worker.wait_for_line(r"task of-asyncio \(asyncio\), which runs in no greenlet")
    worker.wait_for_line(r"await asyncio.sleep\(0.02\)")
    assert worker.stop() == 0


def test_a_forked_copy_of_a_worker_leaves_its_tasks_alone(
    launch: Launch, helpers: Any, tmp_path: Path
) -> None:
    worker = launch(process_pool_size=1)
    begin(helpers, tmp_path)()
    copy = tmp_path / "copy"
    forks = helpers.submit("forks", {"until": str(copy)})
    wait_until(copy.with_suffix(".forked").exists)
    (tmp_path / "end").touch()
    for name in MODES:
        assert helpers.future(f"of-{name}").wait(30) == "SUCCESS"
    assert len(list(tmp_path.glob("effect-*"))) == len(MODES)
    # The copy has the same sockets and pipes to the same child.
    for number in range(30):
        future = helpers.submit("square", {"number": number})
        assert future.result(30) == number**2
        worker.wait_for_line(f"INFO squares: task {future.id}: squaring {number}")
    copy.touch()
    assert forks.wait(30) == "SUCCESS"
    assert worker.stop() == 0
    assert "Traceback" not in worker.output


def test_functions_of_the_program_itself_run_in_children(launch: Launch, helpers: Any) -> None:
    worker = launch()
    future = helpers.submit("square", {"number": 12})
    assert future.result(30) == 144
    worker.wait_for_line(f"INFO squares: task {future.id}: squaring 12")
    assert helpers.submit("asks").result(30) is False
    assert helpers.submit("execute.python", {"code": "result = 6 * 7"}).result(30) == 42
    assert worker.stop() == 0
