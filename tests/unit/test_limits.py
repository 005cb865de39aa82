"""limits: which pools a task needs permits of."""

from typing import Any

import pytest

from pytask.exceptions import UnfitTask
from pytask.limits import LONGEST_KEY, limits_of, may_be_limited
from pytask.policy import Policy


def pools(task: str = "t", data: dict[str, Any] | None = None, **policy: Any) -> list[str]:
    return [limit.pool for limit in limits_of(task, Policy(**policy), data or {})]


def test_a_task_without_a_limit_needs_no_permit() -> None:
    assert pools() == pools(can_overlap=lambda: True) == []
    assert not may_be_limited(Policy())
    assert may_be_limited(Policy(can_overlap=lambda: True))


def test_the_limit_that_concerns_the_fewest_tasks_is_asked_for_first() -> None:
    assert pools(max_concurrency=4) == ["limit:t"]
    assert pools(can_overlap=False, max_concurrency=4) == ["overlap:t", "limit:t"]


def test_a_key_is_a_pool_of_its_own() -> None:
    def key(account: Any) -> Any:
        return account

    assert pools(data={"account": "a"}, can_overlap=key) == ["overlap:t:a"]
    assert pools(data={"account": 7}, can_overlap=key) == ["overlap:t:7"]
    assert pools(data={"account": ""}, can_overlap=key) == ["overlap:t:"]
    assert pools(data={"account": False}, can_overlap=key) == ["overlap:t"]


def test_a_colon_in_a_name_is_not_the_one_before_a_key() -> None:
    (one,) = pools("a:b", can_overlap=lambda: "c")
    (other,) = pools("a", can_overlap=lambda: "b:c")
    assert (one, other) == ("overlap:a%3Ab:c", "overlap:a:b:c")


def test_a_long_key_is_shortened_and_stays_its_own() -> None:
    found = {pools(can_overlap=lambda end=end: "k" * LONGEST_KEY + end)[0] for end in "ab"}
    assert len(found) == 2
    assert all(len(one) < 100 for one in found)


@pytest.mark.parametrize("key", [None, 1.5, ["a"], {"a": 1}])
def test_what_is_no_key_is_told(key: Any) -> None:
    with pytest.raises(UnfitTask, match="can_overlap of 't' returned"):
        pools(can_overlap=lambda: key)
