"""Curves, the capacity model and the pages on scaling."""

import json
from typing import Any

import pytest

from benchmarks.scaling import page
from benchmarks.scaling.fit import fit
from benchmarks.scaling.model import Costs, checks_of, costs_of, need
from tests.support.worker import ROOT, WorkerProcess

SIZES = [1_000, 10_000, 100_000, 1_000_000]
COSTS = Costs(
    enqueue=5,
    run=10,
    heartbeat=3,
    waiting=300,
    active=600,
    worker=15,
    asleep=10_000,
    keeping=1e-6,
)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("constant", [5.0, 5.1, 4.9, 5.0]),
        ("logarithmic", [3.0, 4.0, 5.0, 6.0]),
        ("linear", [2.001, 2.01, 2.1, 3.0]),
    ],
)
def test_the_curve_that_points_lie_on_is_found(kind: str, values: list[float]) -> None:
    curve = fit(SIZES, values)
    assert curve.kind == kind
    assert [curve.at(size) for size in SIZES] == pytest.approx(values, rel=0.03)


def test_a_load_needs_what_is_scarcest() -> None:
    leases = need(COSTS, active=1e7, waiting=0, per_second=0)
    # 10 M / 3.75 s * 3 µs is 8 cores, used to 60 %; 10 M * 10 kB is 25 times 4 GB.
    assert (leases.masters, leases.masters_because) == (14, "leases")
    assert (leases.workers, leases.workers_because) == (25, "memory")
    memory = need(COSTS, active=0, waiting=1e9, per_second=0)
    assert (memory.masters, memory.masters_because) == (19, "memory")
    work = need(COSTS, active=0, waiting=0, per_second=1e5)
    assert (work.masters, work.workers, work.workers_because) == (3, 3, "short tasks")


@pytest.mark.slow
def test_growth_is_measured_and_nothing_is_lost_on_the_way(
    worker_process: Any, tmp_path: Any
) -> None:
    file = tmp_path / "scaling.json"
    words = ["--quick", "--server", "valkey", "--json", str(file)]
    program: WorkerProcess = worker_process("-m benchmarks.scaling", words)
    assert program.wait(85) == 0
    result = json.loads(file.read_text())
    parts = result["parts"]
    assert [point["heartbeat.refused"] for point in parts["active"]] == [0, 0, 0]
    assert [point["reap.missed"] for point in parts["active"]] == [0, 0, 0]
    assert [point["promote.missed"] for point in parts["delayed"]] == [0, 0, 0]
    assert [point["processes"] for point in parts["processes"]] == [1, 2, 4]
    assert costs_of(parts).enqueue > 0
    assert len(checks_of(parts, 2)) == 12
    assert "## How many masters and workers" in page.page(result)
    assert page.picture(parts).startswith("<svg")


def test_the_committed_page_is_the_one_of_the_committed_numbers() -> None:
    home = ROOT / "docs" / "scaling"
    result = json.loads((home / "results.json").read_text())
    assert page.page(result) == (home / "index.md").read_text()
    assert page.picture(result["parts"]) == (home / "growth.svg").read_text()
