"""release_permits: held -> free; free -> handed to a task that waits."""

import pytest

from pytask.store.permits import Permit, WaitingTask

from .permit_lab import PermitLab


@pytest.fixture
def pool(lab):
    return PermitLab(lab)


def test_a_permit_that_is_given_back_is_free(lab, pool):
    pool.acquire("a", "b", limit=2)
    assert pool.release("a").called == []
    assert pool.holders.keys() == {"token-b b"}
    pool.release("b")
    assert lab.snapshot().keys() == {lab.names.fence.encode()}


def test_only_its_holder_gives_a_permit_back(lab, pool):
    pool.acquire("a")
    lab.store.release_permits(lab.partition, [Permit(pool.pool, "another", "a")])
    assert pool.holders.keys() == {"token-a a"}


def test_as_many_as_are_free_are_handed_over_in_the_order_they_came(pool):
    pool.acquire("a", "b", limit=2)
    assert pool.release(entering=["z", "y", "x"], limit=2).called == []
    assert pool.waiting == ["2 z", "2 y", "2 x"]
    released = pool.release("a", "b")
    assert released.called == ["z", "y"]
    assert released.waiting == {pool.pool: 1}
    assert pool.holders.keys() == {" z", " y"}
    assert all(4 < left <= 5.1 for left in pool.holders.values())


def test_who_waits_already_keeps_the_place(pool):
    pool.acquire("a")
    pool.release(entering=["first", "second"])
    pool.release(entering=["second", "first"])
    assert pool.release("a").called == ["first"]


def test_who_enters_when_a_permit_is_free_is_called_at_once(pool):
    assert pool.release(entering=["a", "b"]).called == ["a"]


def test_a_lower_limit_of_its_own_holds_up_nobody_behind(pool):
    pool.acquire("a", "b", limit=3)
    pool.release(entering=["low"], limit=1)
    assert pool.release(entering=["high"], limit=3).called == ["high"]
    assert pool.release("a", "b").called == []
    pool.expire(" high")
    assert pool.release().called == ["low"]


def test_a_look_finds_what_dead_holders_held(pool):
    pool.acquire("dead")
    pool.release(entering=["next"])
    assert pool.release().called == []
    pool.expire("dead")
    assert pool.release().called == ["next"]


def test_one_that_was_called_and_refused_elsewhere_hands_the_permit_on(lab, pool):
    pool.release(entering=["a", "b"])
    released = lab.store.release_permits(lab.partition, [Permit(pool.pool, "", "a")])
    assert released.called == ["b"]


def test_more_than_a_hundred_are_called_at_once(pool):
    ids = [f"t{number}" for number in range(300)]
    assert pool.release(entering=ids, limit=250).called == ids[:250]


def test_those_who_wait_are_forgotten_some_day(lab, pool):
    pool.acquire("a")
    pool.release(entering=["b"])
    assert 800 < lab.call("TTL", lab.names.waiting(pool.pool)) <= 900


def test_what_is_no_entry_of_ours_is_dropped(lab, pool):
    lab.call("ZADD", lab.names.waiting(pool.pool), 1, "nonsense")
    assert pool.release().called == []
    assert pool.waiting == []


def test_a_repeat_hands_nothing_over_twice(lab, pool):
    pool.acquire("a")
    pool.release(entering=["b", "c"])
    store, _ = lab.repeating()
    assert pool.release("a", store=store).called == []  # the reply that named b was lost
    assert pool.holders.keys() == {" b"}


def test_who_enters_again_after_being_called_takes_one_permit(pool):
    pool.acquire("a", limit=2)
    assert pool.release(entering=["b"], limit=2).called == ["b"]
    assert pool.release(entering=["b", "c"], limit=2).called == []
    assert pool.release("a").called == ["b", "c"]


def test_several_pools_are_dealt_with_by_one_call(lab, pool):
    other = PermitLab(lab)
    pool.acquire("a")
    entering = [WaitingTask(other.pool, "b", 1), WaitingTask(pool.pool, "c", 1)]
    released = lab.store.release_permits(lab.partition, [pool.permit("a")], entering)
    assert sorted(released.called) == ["b", "c"]


def test_foreign_values_under_our_keys_change_nothing(lab, pool):
    pool.acquire("a")
    pool.release(entering=["b"])
    keys = {
        lab.names.permits(pool.pool): b"zset",
        lab.names.waiting(pool.pool): b"zset",
    }
    lab.check_wrong_types(lambda: pool.release("a", entering=["c"]), keys)
