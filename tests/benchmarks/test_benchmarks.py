"""Each benchmark still runs and yields numbers. How large they are is not a test's business."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.harness import Metric, at_least, at_most, percentile
from tests.support.worker import WorkerProcess

PROGRAM = "-m benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_yields_numbers(worker_process: Any, tmp_path: Path, name: str) -> None:
    file = tmp_path / "result.json"
    program: WorkerProcess = worker_process(PROGRAM, [name, "--quick", "--json", str(file)])
    assert program.wait(80) == 0
    result = json.loads(file.read_text())

    assert result["quick"]
    assert {"pytask", "python", "server", "packages", "machine"} <= set(result)
    metrics = result["results"][name]
    assert metrics
    for metric in metrics:
        assert metric["unit"], metric
        assert all(math.isfinite(value) and value >= 0 for value in metric["rounds"]), metric
        assert metric["min"] <= metric["median"] <= metric["max"]
        assert metric["name"].strip() in program.output


def test_nothing_is_lost_or_left_behind_in_a_benchmark(worker_process: Any, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    program = worker_process(PROGRAM, ["monitor", "sleepers", "--quick", "--json", str(file)])
    assert program.wait(80) == 0
    results = json.loads(file.read_text())["results"]
    lost = [
        metric["median"]
        for metrics in results.values()
        for metric in metrics
        if metric["name"].strip() in ("not taken back", "not requeued")
    ]
    assert lost == [0, 0, 0, 0]


def test_an_unknown_benchmark_is_refused_with_the_names_there_are(worker_process: Any) -> None:
    program = worker_process(PROGRAM, ["speed"])
    assert program.wait(30) == 2
    assert "drain" in program.output


def test_a_target_is_met_from_its_own_side() -> None:
    metric = Metric("rate", "tasks/s", at_least(100), [90.0, 110.0, 300.0])
    assert metric.median == 110
    assert metric.as_json()["met"]
    assert not at_most(100).met_by(metric.median)
    assert at_most(100).met_by(100)


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 50) == 51
    assert percentile(values, 99.9) == 100
    assert percentile([3.0], 50) == 3
