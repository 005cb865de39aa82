"""renew_permits: held -> held for longer."""

import pytest

from pytask.store.permits import Permit

from .permit_lab import PermitLab


@pytest.fixture
def pool(lab):
    return PermitLab(lab)


def test_a_permit_that_is_held_is_held_for_longer(pool):
    pool.acquire("a", "b", limit=2, seconds=1)
    assert pool.renew("a", "b", seconds=60) == []
    assert all(50 < left <= 60.1 for left in pool.holders.values())


def test_one_that_is_gone_is_lost_and_not_taken_again(pool):
    pool.acquire("a", "b", limit=2)
    pool.release("a")
    assert pool.renew("a", "b", "never") == ["a", "never"]
    assert pool.holders.keys() == {"token-b b"}


def test_another_token_is_another_holder(lab, pool):
    pool.acquire("a")
    other = Permit(pool.pool, "another", "a")
    assert lab.store.renew_permits(lab.partition, [other], 60) == [other]
    assert pool.holders["token-a a"] < 6


def test_one_whose_time_is_over_but_that_nobody_else_has_got_is_held_again(pool):
    pool.acquire("a")
    pool.expire("a")
    assert pool.renew("a") == []
    assert pool.granted("b") == [False]


def test_permits_of_many_pools_are_renewed_by_one_call(lab, pool):
    other = PermitLab(lab)
    pool.acquire("a")
    other.acquire("b")
    permits = [pool.permit("a"), other.permit("a"), other.permit("b"), pool.permit("b")]
    assert lab.store.renew_permits(lab.partition, permits, 60) == [permits[1], permits[3]]
    assert pool.holders["token-a a"] > 50
    assert other.holders["token-b b"] > 50


def test_a_renewed_pool_is_kept_for_as_long_as_its_holders(lab, pool):
    pool.acquire("a", seconds=1)
    pool.renew("a", seconds=100)
    assert 99_000 < lab.call("PTTL", lab.names.permits(pool.pool)) <= 101_100


def test_a_repeat_has_one_effect(lab, pool):
    pool.acquire("a")
    store, _ = lab.repeating()
    assert pool.renew("a", "b", store=store) == ["b"]


def test_foreign_values_under_our_keys_change_nothing(lab, pool):
    pool.acquire("a")
    keys = {lab.names.permits(pool.pool): b"zset"}
    lab.check_wrong_types(lambda: pool.renew("a"), keys)
