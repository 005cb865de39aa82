"""Run the whole suite in several processes and print one summary.

    python -m tests.support.run [-n PROCESSES] [--rpc PYTHON] [--coverage] [-- pytest options]

Tests mostly wait (for servers, time-outs, processes), so more processes than cores
pay off. ``--rpc`` adds a process in a second environment, which has redis-py-cluster
and runs what is marked ``rediscluster``. Ends with pytest's own kind of last line.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from . import process

ROOT = Path(__file__).parents[2]
# Without "deselected": every process deselects the same tests, a sum would mean nothing.
_OUTCOMES = ("failed", "passed", "skipped", "xfailed", "xpassed", "warnings", "error")
#: Seconds between two lines that tell how far the tests are.
_PROGRESS_EVERY = float(os.environ.get("PYTASK_TEST_PROGRESS_EVERY", "60"))


class Leg:
    """The processes of one Python environment; they share one board.

    Args:
        name: For the report.
        python: Interpreter of the environment.
        processes: How many.
        options: pytest's command line.
        coverage: File the measurements go to, or None.
    """

    def __init__(
        self, name: str, python: str, processes: int, options: list[str], coverage: Path | None
    ):
        self.name = name
        self._board = Path(tempfile.mkdtemp(prefix="pytask-board-"))
        # A number other than 1, which is the process's own output there.
        self._terminal = os.dup(sys.stdout.fileno())
        environment = {
            **os.environ,
            "PYTASK_TEST_BOARD": str(self._board),
            "PYTASK_TEST_PROGRESS": str(self._terminal),
        }
        program = ["-m", "pytest"]
        if coverage is not None:
            environment["COVERAGE_FILE"] = str(coverage)
            program = ["-m", "coverage", "run", *program]
        self._processes = [
            self._start([python, *program, "-q", *options], environment, number)
            for number in range(processes)
        ]

    def _start(
        self, words: list[str], environment: dict[str, str], number: int
    ) -> subprocess.Popen[bytes]:
        with (self._board / f"output-{number}").open("wb") as output:
            return process.spawn(
                words,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(self._terminal,),
            )

    def running(self) -> bool:
        """Whether some process has not ended."""
        return any(one.poll() is None for one in self._processes)

    def progress(self) -> str:
        """Return how far the tests are, and the one that has taken longest."""
        total = self._board / "total"
        notes = [json.loads(one.read_text()) for one in self._board.glob("note-*[0-9]")]
        done = sum(count for count, _, _ in notes)
        text = f"{self.name}: {done} of {total.read_text() if total.exists() else '?'} tests"
        busy = [(since, test) for _, since, test in notes if test]
        if busy:
            since, test = min(busy)
            text += f"; for {time.time() - since:.0f} s at {test}"
        return text

    def end(self) -> None:
        """Stop what still runs."""
        for one in self._processes:
            process.end(one, patience=20)

    def report(self) -> tuple[Counter[str], list[str], Counter[str]]:
        """Print the output of processes that did not succeed.

        Returns:
            Counts by outcome, what failed, and the reasons of skipped tests.
        """
        counts, failed, skipped = Counter[str](), list[str](), Counter[str]()
        for number, one in enumerate(self._processes):
            result = self._result(one)
            counts.update(result["counts"])
            failed += result["failed"]
            skipped.update(result["skipped"])
            if one.returncode != 0 or not result["complete"]:
                output = (self._board / f"output-{number}").read_text(errors="replace")
                print(f"\n=== {self.name} process {number}, exit {one.returncode} ===\n{output}")
                if not result["failed"]:  # it crashed, or could not even collect
                    counts["error"] += 1
                    failed.append(f"{self.name} process {number}: exit {one.returncode}")
        shutil.rmtree(self._board)
        os.close(self._terminal)
        return counts, failed, skipped

    def _result(self, one: subprocess.Popen[bytes]) -> dict[str, Any]:
        file = self._board / f"result-{one.pid}.json"
        if not file.exists():
            return {"counts": {}, "failed": [], "skipped": [], "complete": False}
        return {**json.loads(file.read_text()), "complete": True}


def combine_coverage(directory: Path) -> bool:
    """Print the coverage report; return whether it reaches the threshold."""
    command = [sys.executable, "-m", "coverage"]
    subprocess.run([*command, "combine", "-q", str(directory)], cwd=ROOT, check=False)
    return subprocess.run([*command, "report"], cwd=ROOT, check=False).returncode == 0


def summary(counts: Counter[str], seconds: float) -> str:
    """Return a line like pytest's last one."""
    parts = [f"{counts[name]} {name}" for name in _OUTCOMES if counts[name]]
    return f" {', '.join(parts) or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.run")
    parser.add_argument("-n", "--processes", type=int, default=4, help="pytest processes")
    parser.add_argument("--rpc", metavar="PYTHON", help="interpreter with redis-py-cluster")
    parser.add_argument("--only-rpc", action="store_true", help="leave out the main environment")
    parser.add_argument("--coverage", action="store_true", help="measure and check the threshold")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds for everything")
    parser.add_argument("options", nargs="*", help="passed to pytest")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run everything; return the exit status."""
    choices, started = parse(arguments), time.monotonic()
    measured = Path(tempfile.mkdtemp(prefix="pytask-coverage-"))
    coverage = measured / ".coverage" if choices.coverage else None
    legs = []
    if not choices.only_rpc:
        legs.append(Leg("main", sys.executable, choices.processes, choices.options, coverage))
    if choices.rpc:
        options = ["-m", "rediscluster", *choices.options]
        legs.append(Leg("redis-py-cluster", choices.rpc, 1, options, coverage))
    interrupted = wait_for(legs, started + choices.limit)
    counts, failed, skipped = Counter[str](), list[str](), Counter[str]()
    for leg in legs:
        leg_counts, leg_failed, leg_skipped = leg.report()
        counts.update(leg_counts)
        failed += leg_failed
        skipped.update(leg_skipped)
    good = not failed and counts["passed"] > 0 and not interrupted
    if coverage is not None and good:
        good = combine_coverage(measured)
    shutil.rmtree(measured)
    for reason, number in sorted(skipped.items()):
        print(f"SKIPPED [{number}] {reason}")
    for name in failed:
        print(f"FAILED {name}")
    if tests := [name for name in failed if "::" in name]:
        print(f"Again, alone: .venv/bin/python -m pytest {' '.join(map(shlex.quote, tests))}")
    print(summary(counts, time.monotonic() - started))
    return 0 if good else 1


def wait_for(legs: list[Leg], deadline: float) -> bool:
    """Wait for all processes; return whether they had to be stopped."""
    started = told_at = time.monotonic()
    try:
        while any(leg.running() for leg in legs) and time.monotonic() < deadline:
            time.sleep(0.1)
            if time.monotonic() > told_at + _PROGRESS_EVERY:
                told_at = time.monotonic()
                minutes = (told_at - started) / 60
                for leg in legs:
                    print(f"\n[{minutes:.0f} min] {leg.progress()}", flush=True)
        return any(leg.running() for leg in legs)
    except KeyboardInterrupt:
        return True
    finally:
        for leg in legs:
            leg.end()
        print(flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
