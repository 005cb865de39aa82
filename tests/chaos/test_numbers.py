"""The measurements: what they make of what they saw, and one of them for real."""

import json

from . import numbers
from .measures import ALL
from .measures.base import Measure, Row, Session, Spread, between
from .measures.load import slope


def row(is_met):
    return Row("a thing", "3 s", "2 s", "9 s", is_met)


def replace_all(monkeypatch, *measures):
    monkeypatch.setattr(numbers, "ALL", [Measure(one) for one in measures])


def test_spread_names_the_middle_the_tail_and_the_longest():
    spread = Spread.of([0.003, 0.001, 0.002])
    assert spread[:3] == (0.002, 0.003, 0.003)
    assert spread.text("ms", 0) == "2 / 3 / 3 ms (p50 / p99 / max of 3)"


def test_slope_is_the_growth_per_step():
    assert slope([5.0, 5.0, 5.0]) == 0
    assert slope([1.0, 3.0, 5.0, 7.0]) == 2


def test_slope_is_not_misled_by_one_step():
    assert slope([5.0, 5.0, 5.0, 5.0, 9.0]) == 0


def test_between_pairs_the_transitions_of_each_task():
    audit = [
        {"i": "a", "s": "stop", "at": 1.0},
        {"i": "b", "s": "finish", "at": 1.5},
        {"i": "a", "s": "finish", "at": 3.0},
    ]
    assert between(audit, "stop", "finish") == [2.0]


def test_a_missed_aim_is_told_and_is_the_exit_status(monkeypatch, tmp_path, capsys):
    def good(session):
        return [row(True)]

    def bad(session):
        return [row(True), row(False)]

    replace_all(monkeypatch, good, bad)
    path = tmp_path / "found" / "numbers.json"
    assert numbers.main(["--json", str(path)]) == 1
    output = capsys.readouterr().out
    assert "MISSED [2/2] a thing: 3 s (aim 2 s)" in output
    assert "aims missed: bad" in output
    kept = json.loads(path.read_text())
    assert [one["name"] for one in kept] == ["good", "bad", "bad"]
    assert [one["measured"] for one in kept] == ["3 s", "3 s", "3 s; **aim missed**"]


def test_a_measurement_that_breaks_is_a_missed_aim_and_the_others_go_on(
    monkeypatch, tmp_path, capsys
):
    def broken(session):
        """Something."""
        raise AssertionError("not within 60 s")

    def good(session):
        return [row(True)]

    replace_all(monkeypatch, broken, good)
    assert numbers.main(["--json", str(tmp_path / "numbers.json")]) == 1
    output = capsys.readouterr().out
    assert "MISSED [1/2] Something.: not finished: AssertionError: not within 60 s" in output
    assert "ok     [2/2]" in output


def test_only_replaces_the_results_of_the_measurement_it_names(monkeypatch, tmp_path):
    found = iter("123")

    def first(session):
        return [Row(f"first {next(found)}", "", "", "", True)]

    def second(session):
        return [Row(f"second {next(found)}", "", "", "", True)]

    replace_all(monkeypatch, first, second)
    path = tmp_path / "numbers.json"
    assert numbers.main(["--json", str(path)]) == 0
    assert numbers.main(["--json", str(path), "--only", "first"]) == 0
    assert [one["what"] for one in json.loads(path.read_text())] == ["first 3", "second 2"]


def test_a_file_of_something_else_is_left_alone(monkeypatch, tmp_path, capsys):
    replace_all(monkeypatch)
    path = tmp_path / "other.json"
    path.write_text('{"results": 1}')
    assert numbers.main(["--json", str(path)]) == 2
    assert "give another --json" in capsys.readouterr().out
    assert path.read_text() == '{"results": 1}'


def test_every_measurement_says_what_it_is_about(capsys):
    assert numbers.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ALL)
    assert all(one.about for one in ALL)


def test_a_measurement_on_real_servers_meets_its_aim():
    stop = next(one for one in ALL if one.name == "stop_latency")
    (found,) = stop.run(Session(full=False))
    # The tail depends on what else the machine has to do.
    assert found.values["count"] == 200
    assert found.values["p50"] < 0.05
