"""Finds the code blocks of a Markdown page, and does what they say.

A comment in the line above a block tells what is special about it; readers do not see it::

    <!-- test: background -->   a program that goes on, such as a worker
    <!-- test: output -->       what the block before wrote; … stands for anything
    <!-- test: NAME -->         left to a test of its own
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support import process
from tests.support.waiting import wait_until
from tests.support.worker import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"

_COMMENT = re.compile(r"<!-- test: (\w+) -->")
_FENCE = re.compile(r"(`{3,}|:{3,})(?:\{code-block\} ?)?(\w*)\s*$")
_NAMED = re.compile(r"# (\w+\.py)\n")

#: Stands where redis-tools is not installed; says the same commands through redis-py.
_SHIM = Path(__file__).with_name("redis_cli_shim.py")


class Block(NamedTuple):
    """A block of code.

    Attributes:
        language: As the page names it.
        text: The code.
        role: From the comment above it, or empty.
        where: Page and line, for messages.
    """

    language: str
    text: str
    role: str
    where: str


def read_blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    blocks: list[Block] = []
    role, fence, language, start, lines = "", "", "", 0, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if fence:
            if line.strip() == fence:
                where = f"{page.relative_to(ROOT)}:{start}"
                blocks.append(Block(language, "".join(lines), role, where))
                role, fence, lines = "", "", []
            else:
                lines.append(f"{line}\n")
        elif found := _FENCE.match(line):
            fence, language, start = found[1], found[2], number
        elif found := _COMMENT.search(line):
            role = found[1]
    return blocks


def all_pages() -> list[Path]:
    """Return the README and all pages of the documentation."""
    return [README, *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]


class Walk:
    """Follows a page from top to bottom, in a directory of its own.

    Args:
        directory: Where the commands run.
        environment: Added to theirs.
        redis_port: What redis-cli talks to if it is not told otherwise.
    """

    def __init__(self, directory: Path, environment: dict[str, str], redis_port: int = 0) -> None:
        self._directory = directory
        self._background: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.output = ""
        commands = directory / ".bin"
        commands.mkdir()
        redis_cli = shutil.which("redis-cli") or f"{sys.executable} {_SHIM}"
        _write_program(commands / "pytask", f'exec {sys.executable} -m pytask "$@"')
        _write_program(
            commands / "redis-cli",
            f'case " $* " in *" -s "*) ;; *) set -- -p {redis_port} "$@" ;; esac\n'
            # In place of the person who presses Ctrl-C.
            'case " $* " in *" SUBSCRIBE "*) limit="timeout 2" ;; esac\n'
            f'$limit {redis_cli} "$@" || [ $? = 124 ]',
        )
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }

    def take(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            AssertionError: It failed, or its output is not the one on the page.
        """
        if block.language == "python":
            named = _NAMED.match(block.text)
            if named:
                (self._directory / named[1]).write_text(block.text)
            else:
                self._run([sys.executable, "-c", block.text], block.where)
        elif block.language == "sh" and block.role == "background":
            self._start(block)
        elif block.language == "sh":
            # `|| …` on the page is what handles an expected failure.
            self._run(["bash", "-euc", block.text], block.where)
        elif block.role == "output":
            assert matches(block.text, self.output), (
                f"{block.where}: the page shows\n{block.text}\nbut this came\n{self.output}"
            )
        else:
            raise AssertionError(f"{block.where}: nothing tells how to test this block")

    def end(self) -> list[int]:
        """End what goes on in the background as Ctrl-C would; return the exit codes."""
        for one, _ in self._background:
            if one.poll() is None:
                one.send_signal(2)
        codes = [one.wait(20) for one, _ in self._background]
        self._background = []
        return codes

    def _run(self, command: list[str], where: str) -> None:
        done = subprocess.run(
            command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        self.output = done.stdout.decode()
        assert done.returncode == 0, f"{where} ended with {done.returncode}:\n{self.output}"

    def _start(self, block: Block) -> None:
        log = self._directory / f"background-{len(self._background)}.log"
        with log.open("wb") as file:
            started = process.spawn(
                ["bash", "-euc", f"exec {block.text}"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self._background.append((started, log))
        wait_until(
            lambda: " takes tasks " in log.read_text() or started.poll() is not None,
            30,
            lambda: f"{block.where}: {log.read_text()}",
        )
        assert started.poll() is None, f"{block.where} has ended:\n{log.read_text()}"


def matches(shown: str, came: str) -> bool:
    """Return whether text is what a page shows, where … stands for anything within a line."""
    pattern = "".join(
        ".*".join(re.escape(part) for part in line.split("…")) + r"[ \t]*\n"
        for line in shown.rstrip("\n").split("\n")
    )
    return re.fullmatch(pattern, came.rstrip("\n") + "\n") is not None


def _write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
