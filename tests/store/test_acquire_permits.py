"""acquire_permits: a permit of a pool -> held."""

import pytest

from pytask.store.permits import PermitRequest

from .permit_lab import PermitLab


@pytest.fixture
def pool(lab):
    return PermitLab(lab)


def test_as_many_are_granted_as_the_limit_allows_in_the_order_asked(pool):
    assert pool.granted("a", "b", "c", limit=2) == [True, True, False]
    assert pool.holders.keys() == {"token-a a", "token-b b"}
    assert all(4 < left <= 5.1 for left in pool.holders.values())


def test_asking_again_under_the_same_token_extends_and_takes_no_second_permit(pool):
    pool.acquire("a", limit=2, seconds=1)
    assert pool.acquire("a", "b", limit=2, seconds=30).answers[0] > 0
    assert len(pool.holders) == 2
    assert pool.holders["token-a a"] > 20


def test_a_repeat_grants_nothing_twice(lab, pool):
    twice, _ = lab.repeating()
    assert [one > 0 for one in pool.acquire("a", "b", store=twice).answers] == [True, False]
    assert pool.holders.keys() == {"token-a a"}


def test_a_holder_whose_time_is_over_makes_room(pool):
    pool.acquire("a")
    assert pool.granted("b") == [False]
    pool.expire("a")
    assert pool.granted("b") == [True]
    assert pool.holders.keys() == {"token-b b"}


def test_the_fence_grows_with_every_grant_also_after_it_was_lost(lab, pool):
    first = pool.acquire("a", "b", "c", limit=2).answers
    assert 0 < first[0] < first[1]
    lab.call("DEL", lab.names.fence)
    pool.release("a")
    (later,) = pool.acquire("d", limit=2).answers
    assert later > first[1]


def test_the_fence_grows_while_the_clock_stands_still(lab, pool):
    (first,) = pool.acquire("a").answers
    ahead = first + 10**9
    lab.call("SET", lab.names.fence, ahead)
    pool.release("a")
    assert pool.acquire("b").answers == [ahead + 1]


def test_those_who_wait_are_served_before_those_who_come(pool):
    pool.acquire("a")
    pool.release(entering=["first", "second"])
    pool.expire("a")
    grants = pool.acquire("newcomer")
    assert grants.answers == [-1]
    assert grants.called == ["first"]
    assert pool.holders.keys() == {" first"}
    assert pool.granted("first") == [True]
    assert pool.holders.keys() == {"token-first first"}
    assert pool.waiting == ["1 second"]


def test_a_permit_that_nobody_comes_for_goes_to_the_next(pool):
    pool.release(entering=["gone", "next"])
    assert pool.holders.keys() == {" gone"}
    pool.expire(" gone")
    assert pool.acquire("newcomer").called == ["next"]


def test_who_has_a_permit_waits_no_more(pool):
    pool.acquire("a")
    pool.release(entering=["b"])
    pool.expire("a")
    assert pool.granted("b") == [True]
    assert pool.waiting == []


def test_a_lower_limit_takes_back_what_was_handed_over_under_a_higher_one(pool):
    pool.acquire("a", limit=2)
    pool.release(entering=["b"], limit=2)
    assert pool.holders.keys() == {"token-a a", " b"}
    assert pool.granted("b", limit=1) == [False]
    assert pool.holders.keys() == {"token-a a"}


def test_pools_do_not_know_of_each_other(lab, pool):
    other = PermitLab(lab)
    requests = [
        PermitRequest(one.permit(owner), 1) for owner in ("a", "b") for one in (pool, other)
    ]
    answers = lab.store.acquire_permits(lab.partition, requests, 5).answers
    assert [one > 0 for one in answers] == [True, True, False, False]
    assert (pool.holders.keys(), other.holders.keys()) == ({"token-a a"}, {"token-a a"})


def test_a_pool_vanishes_with_its_last_holder(lab, pool):
    pool.acquire("a", limit=2, seconds=100)
    pool.acquire("b", limit=2, seconds=5)
    left = lab.call("PTTL", lab.names.permits(pool.pool))
    assert 99_000 < left <= 101_100


def test_foreign_values_under_our_keys_change_nothing(lab, pool):
    pool.acquire("a")
    pool.release(entering=["b"])
    keys = {
        lab.names.fence: b"string",
        lab.names.permits(pool.pool): b"zset",
        lab.names.waiting(pool.pool): b"zset",
    }
    lab.check_wrong_types(lambda: pool.acquire("c", limit=2), keys)
