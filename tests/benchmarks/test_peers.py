"""The comparison works for us, and what it says of the others follows from the numbers."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import page, stage
from benchmarks.peers.run import Results
from benchmarks.peers.stage import Stage
from benchmarks.peers.systems import BARE_LOOP, BY_NAME, OURS, SYSTEMS
from benchmarks.peers.workloads import METRICS, QUICK, WORKLOADS
from tests.support.worker import ROOT


@pytest.fixture
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment under test be that of the tests, instead of one made by pip."""
    (tmp_path / "bin").mkdir()
    for name, words in (("python", ""), ("pytask", "-m pytask")):
        program = tmp_path / "bin" / name
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{ROOT}" exec {sys.executable} {words} "$@"\n'
        )
        program.chmod(0o755)
    monkeypatch.setattr(stage, "environment_of", lambda system: tmp_path)


@pytest.mark.slow
def test_all_work_is_measured_with_our_own_worker(own_environment: None) -> None:
    results = Results()
    with Stage("valkey") as place:
        for name, workload in WORKLOADS.items():
            # The load repeats what the latency does, for longer.
            if name != "load":
                results.add(OURS, workload(place, BY_NAME[OURS], QUICK, {}))
        results.add(BARE_LOOP.name, WORKLOADS["drain"](place, BARE_LOOP, QUICK, {}))
    missing = set(METRICS) - set(results.values)
    assert {name.split(".")[0] for name in missing} == {"load", "equal"}
    drained = results.values["drain.commands"]
    assert 5 < drained[BARE_LOOP.name][0] < 20
    assert results.values["drain.rate"].keys() == {OURS, BARE_LOOP.name}
    numbers = (
        value for found in results.values.values() for all_ in found.values() for value in all_
    )
    assert all(value >= 0 for value in numbers)


def test_every_system_has_its_app_and_gives_a_reason_for_what_it_cannot_do() -> None:
    apps = Path(stage.APPS)
    for system in SYSTEMS:
        assert (apps / f"{system.module}_app.py").exists()
        assert set(system.absent) <= set(WORKLOADS)
        assert all(system.absent.values())
        assert system.settings


def result_of(values: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    machine = {"processor": "x", "cores": 2, "system": "s", "python": "3", "load_before": 0.0}
    about = {"versions": {}, "command": "x", "settings": ["y"], "concurrency": 1, "drain": 9}
    return {
        "quick": False,
        "server": "redis 7",
        "machine": {**machine, "load_after": 0.0},
        "seconds": 60.0,
        "rounds": 3,
        "systems": {name: about for found in values.values() for name in found},
        "values": values,
        "absent": {},
    }


def test_the_page_says_by_how_much_we_win_and_where_we_lose() -> None:
    text = page.page(
        result_of(
            {
                "drain.rate": {OURS: [3e4, 2e4, 4e4], "Celery": [500.0], "SAQ": [2e3, 1e3, 3e3]},
                "startup.seconds": {OURS: [2.0], "RQ": [0.5]},
            }
        )
    )
    assert "| no-op tasks drained, tasks/s | 30,000 | 2,000 (SAQ) | 15 times | 10 times |" in text
    assert "- start of the process to first task: 2 s, and RQ 0.5." in text
    assert "| **pytask** | 30,000 (20,000 to 40,000) |" in text
    assert "Aims missed" not in text


def test_an_aim_that_was_missed_is_named() -> None:
    text = page.page(result_of({"drain.rate": {OURS: [9e3], "SAQ": [1e3]}}))
    assert "9 times | 10 times | **missed** |" in text
    assert "Nowhere in this table." in text
    assert "Aims missed: no-op tasks drained." in text


def test_who_has_no_bulk_interface_competes_with_single_calls() -> None:
    values = {
        "enqueue.rate": {OURS: [1e4], "Huey": [2e4]},
        "bulk.rate": {OURS: [4e4], "RQ": [1e4]},
    }
    assert "- started one by one" in page.page(result_of(values))
    assert "| 40,000 | 20,000 (Huey, one by one) | 2 times | 5 times | **missed** |" in page.page(
        result_of(values)
    )


def test_the_committed_page_is_the_one_of_the_committed_numbers() -> None:
    home = ROOT / "docs" / "performance"
    result = json.loads((home / "results.json").read_text())
    assert page.page(result) == (home / "index.md").read_text()
    assert page.picture(result) == (home / "comparison.svg").read_text()
