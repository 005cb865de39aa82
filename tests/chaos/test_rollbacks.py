"""The logs of servers tell when acknowledged writes may have been lost."""

from datetime import datetime
from types import SimpleNamespace

import pytest

from .rollbacks import find_rollbacks

_PROMOTED = "Failover election won: I'm the new master."
_HANDED_OVER = "All master replication stream processed, manual failover can start."
_DEMOTED = "Configuration change detected. Reconfiguring myself as a replica of 07c3"
_STARTED = "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo"


@pytest.fixture
def node(tmp_path):
    """Make a server of lines of its log, given with their second."""
    made = []

    def make(*lines):
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(directory)
        text = "".join(f"7:M 21 Nov 2026 00:00:{at:06.3f} * {words}\n" for at, words in lines)
        (directory / "server.log").write_text(text)
        return SimpleNamespace(directory=directory)

    return make


def at(second):
    return datetime(2026, 11, 21).timestamp() + second


def spans(nodes, history=(), lazy_file=False):
    zero = at(0)
    found = find_rollbacks(nodes, history, lazy_file)
    return [(one.cause, one.at - zero, one.until - zero) for one in found]


def test_a_promotion_may_have_lost_writes_until_the_old_master_knew(node):
    nodes = [node((1, _PROMOTED)), node((3.5, _DEMOTED))]
    assert spans(nodes) == [("failover", 1.0, 3.5)]


def test_a_master_that_was_dead_has_acknowledged_nothing_after_its_replacement(node):
    nodes = [node((1, _PROMOTED)), node((3, _STARTED), (3.5, _DEMOTED))]
    assert spans(nodes) == [("failover", 1.0, 1.0)]


def test_a_master_that_handed_over_has_lost_nothing(node):
    nodes = [node((1, _HANDED_OVER), (1.2, _PROMOTED)), node((1.3, _DEMOTED))]
    assert spans(nodes) == []
    # The next time it was not asked to.
    nodes = [node((1, _HANDED_OVER), (1.2, _PROMOTED), (9, _PROMOTED)), node((9.3, _DEMOTED))]
    assert [one[1] for one in spans(nodes)] == [9.0]


def test_a_kill_counts_only_where_the_file_may_lag_behind(node):
    kill = {"ev": "outage", "what": "kill", "wall": at(5)}
    assert spans([node()], [kill]) == []
    assert [one[:2] for one in spans([node()], [kill], lazy_file=True)] == [("kill -9", 5.0)]
