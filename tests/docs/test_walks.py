"""README and quick start, block by block, against real servers."""

import configparser
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import DOCS, README, ROOT, Block, Walk, matches, read_blocks


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Callable[..., Walk]]:
    """Start following a page: ``walk(environment, redis_port)``."""
    walks: list[Walk] = []

    def start(environment: dict[str, str] | None = None, redis_port: int = 0) -> Walk:
        walks.append(Walk(tmp_path, environment or {}, redis_port))
        return walks[-1]

    yield start
    for one in walks:
        one.end()


def test_a_page_may_leave_out_what_differs_from_run_to_run() -> None:
    assert matches("…\nhello …\n", "3f2b\nhello Ada\n")
    assert matches("a\tb\n", "a\tb\n\n")
    assert not matches("hello …\n", "3f2b\nhello Ada\n")
    assert not matches("hello\n", "hello Ada\n")


@pytest.mark.slow
def test_every_block_of_the_readme_works(
    walk: Callable[..., Walk],
    disposable_server: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    server = disposable_server()
    page = walk({"PYTASK_REDIS": server.url}, server.address[1])
    client = server.client()
    for block in read_blocks(README):
        if block.text.startswith("make "):
            _check_make(block)
        elif block.role != "transcript":
            page.take(block)
        if block.text.startswith("redis-cli"):
            assert '"event":"counted"' in page.output, "SUBSCRIBE shows what the task says"
    wait_until(lambda: client.hget("task-1", "state") == "STOPPED")
    assert page.end() == [0]


@pytest.mark.slow
def test_every_block_of_the_quick_start_works(walk: Callable[..., Walk], tmp_path: Path) -> None:
    page = walk()
    for block in read_blocks(DOCS / "quickstart.md"):
        if block.role == "install":
            _check_install(block)
        else:
            page.take(block)
    assert page.end() == [0]
    assert (tmp_path / "data").is_dir()


@pytest.mark.slow
def test_the_example_of_the_page_on_serializers_works(walk: Callable[..., Walk]) -> None:
    page = walk()
    for block in read_blocks(DOCS / "howto" / "serializers.md")[:4]:
        page.take(block)
    assert page.end() == [0]


@pytest.mark.slow
def test_the_transcript_of_the_readme_is_what_its_script_prints() -> None:
    (shown,) = [block.text for block in read_blocks(README) if block.role == "transcript"]
    for _ in range(8):
        recorded = subprocess.run(
            [sys.executable, str(DOCS / "kill_a_worker.py")],
            stdout=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        if recorded.returncode != UNEVEN:
            break
    assert recorded.returncode == 0
    printed = recorded.stdout.decode()

    assert _shape(printed) == _shape(shown)
    requeued = {line.split()[1] for line in printed.splitlines() if "requeued" in line}
    restarted = {line.split()[1] for line in printed.splitlines() if '{"attempt":2}' in line}
    assert requeued == restarted and len(requeued) == 2


#: What the script says when the tasks were not two for each worker, which is chance.
UNEVEN = 3


def _shape(transcript: str) -> list[str]:
    """Return the lines without what differs: times, names, who ran what, the order of events."""
    lines = []
    for line in transcript.splitlines():
        words = line.split()
        if "kill -9" in line:
            line = "$ kill"
        elif len(words) > 1 and words[1].startswith("count-"):
            line = f"event {words[2]}"
        elif "-" in words[0] and not words[0].startswith("count-"):
            line = f"worker {'dead' if 'dead' in line else 'alive'}"
        elif words[0].count(":") == 2:
            line = "time"
        lines.append(line)
    return sorted(lines)


def _check_make(block: Block) -> None:
    """Check that the targets exist; `make test` would run this test again."""
    for line in block.text.splitlines():
        command = line.partition("#")[0].split()
        done = subprocess.run(
            [*command, "--dry-run"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, f"{block.where}: {line}: {done.stdout.decode()}"


def _check_install(block: Block) -> None:
    """Check the words; the environment of this test was installed the same way by make."""
    assert "pip install --editable '.[embedded]'" in block.text
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert "embedded" in metadata["options.extras_require"]
    assert metadata["options.entry_points"]["console_scripts"].strip() == "pytask = pytask.cli:main"
