"""docker-compose.yml does what it says, checked without a container engine.

The file is held against the Compose specification, and its commands run against
servers and workers started here with the same arguments on free ports.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import process
from tests.support.ports import free_port, release_port
from tests.support.run import ROOT
from tests.support.servers import find_binary
from tests.support.topologies import missing_server
from tests.support.waiting import wait_until

FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = [name for name, one in SERVICES.items() if one.get("command", [""])[0] == "redis-server"]
WORKERS = [name for name, one in SERVICES.items() if "build" in one]
BUS = 10_000
PORTS = ("6379", *(str(port) for port in range(7001, 7007)))


class Host:
    """Stands for the machine the containers would share; every port has a free substitute.

    Args:
        directory: Working directories of the servers go here.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self.ports = {port: free_port(companion=BUS) for port in PORTS}
        self._running: list[subprocess.Popen[bytes]] = []

    def translate(self, text: str) -> str:
        """Replace the ports of the file, and the names of its hosts."""
        text = re.sub(r"\b(6379|700[1-6])\b", lambda found: str(self.ports[found[1]]), text)
        # Compose writes a dollar sign of the shell as two.
        return text.replace("//redis:", "//127.0.0.1:").replace("$$", "$")

    def start(self, name: str) -> None:
        """Start a server with the command of its service."""
        directory = self._directory / name
        directory.mkdir()
        words = [self.translate(word) for word in SERVICES[name]["command"]]
        with (directory / "log").open("wb") as log:
            self._running.append(process.spawn(words, cwd=directory, stdout=log, stderr=log))

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of the file to its end."""
        return subprocess.run(
            [self.translate(word) for word in words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def healthy(self, name: str) -> bool:
        """Run the health check of a service as Docker would."""
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        return self.run(["sh", "-c", *words]).returncode == 0

    def close(self) -> None:
        """Kill the servers."""
        for one in self._running:
            one.kill()
            one.wait()
        for port in self.ports.values():
            release_port(port)
            release_port(port + BUS)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    if find_binary("redis") is None or shutil.which("redis-cli") is None:
        missing_server("redis-server and redis-cli are not installed")
    host = Host(tmp_path)
    yield host
    host.close()


def test_the_file_follows_the_compose_specification():
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_services_depend_on_services_that_can_meet_the_condition(name):
    wanted = SERVICES[name].get("depends_on", {})
    for other in wanted:
        condition = wanted[other]["condition"] if isinstance(wanted, dict) else "service_started"
        assert other in SERVICES
        # A profile that starts this service has to start what it needs, too.
        assert set(SERVICES[other].get("profiles", [])) <= set(SERVICES[name].get("profiles", []))
        if condition == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        if condition == "service_completed_successfully":
            assert SERVICES[other].get("restart", "no") == "no"


def test_networks_and_volumes_that_are_used_exist():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
        mode = service.get("network_mode", "")
        assert not mode or mode.removeprefix("service:") in SERVICES


def test_no_port_is_open_to_the_network():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_single_server_starts_and_is_found_healthy(host):
    assert not host.healthy("redis")
    host.start("redis")
    wait_until(lambda: host.healthy("redis"), message="redis is healthy")


@pytest.mark.slow
def test_the_cluster_is_formed_once_and_stays(host):
    nodes = [name for name in SERVERS if name != "redis"]
    assert len(nodes) == 6
    for name in nodes:
        host.start(name)
    for name in nodes:
        wait_until(lambda name=name: host.healthy(name), message=f"{name} is healthy")

    for _ in range(2):  # the second start of the stack finds a cluster that exists
        done = host.run(SERVICES["cluster-init"]["command"])
        assert done.returncode == 0, done.stdout + done.stderr

    info = host.run(["redis-cli", "-p", "7001", "cluster", "info"]).stdout
    assert "cluster_state:ok" in info
    assert "cluster_known_nodes:6" in info
    assert "cluster_size:3" in info


def test_each_setting_of_a_worker_is_one_the_command_knows():
    for name in WORKERS:
        _, *words = SERVICES[name]["command"]
        done = subprocess.run(
            [sys.executable, "-m", "pytask", *words, "--help"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == 0, done.stderr
        for variable in SERVICES[name]["environment"]:
            assert variable in done.stdout


def test_a_worker_starts_with_the_command_and_environment_of_the_file(host, worker_process):
    host.start("redis")
    wait_until(lambda: host.healthy("redis"))
    service = SERVICES["worker-1"]
    environment = {name: host.translate(value) for name, value in service["environment"].items()}
    program, *words = service["command"]
    assert program == "pytask"

    worker = worker_process("-m pytask", words, **environment)

    def registered() -> bool:
        return host.run(["redis-cli", "-p", "6379", "zcard", "tasks:workers"]).stdout.strip() == "1"

    worker.wait_for(registered, 20, "the worker registers")
    assert worker.stop() == 0


def test_the_image_copies_files_that_exist():
    for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
