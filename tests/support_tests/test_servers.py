"""A server of ours behaves as tests rely on: same place after a crash, gone after the run."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import redis

from tests.support.servers import Server, find_binary
from tests.support.waiting import wait_until

KINDS = ["valkey", "redis"] if find_binary("redis") else ["valkey"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_comes_back_on_its_port_with_its_data(disposable_server, kind):
    server = disposable_server(kind, appendonly="yes", appendfsync="always")
    client = server.client()
    client.set("key", "value")

    server.kill()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    server.start()

    assert client.get("key") == "value"


def test_a_paused_server_answers_again_after_resume(disposable_server):
    server = disposable_server()
    server.pause()
    assert not server.answers()
    server.resume()
    wait_until(server.answers)


def test_options_reach_the_server(disposable_server):
    server = disposable_server(requirepass="secret", maxmemory="20mb", unixsocket=True)

    assert server.client().config_get("maxmemory") == {"maxmemory": str(20 * 1024 * 1024)}
    assert redis.Redis(unix_socket_path=str(server.unixsocket), password="secret").ping()
    assert redis.Redis.from_url(server.url).ping()


def test_a_server_that_cannot_start_shows_its_log():
    with (
        pytest.raises(RuntimeError, match="no-such-directive"),
        Server("valkey", no_such_directive="1"),
    ):
        pass


def test_a_server_dies_with_a_test_run_that_is_killed():
    program = (
        "import sys, time\n"
        "from tests.support.servers import Server\n"
        "server = Server('valkey').start()\n"
        "print(server.pid, server.directory, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        number, directory = run.stdout.readline().decode().split()
        pid = int(number)
        os.kill(pid, 0)
        run.send_signal(signal.SIGKILL)

    wait_until(lambda: not _is_running(pid), message="the server is gone")
    shutil.rmtree(directory)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
