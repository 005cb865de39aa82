"""agree_partitions: the first to come decides."""

import pytest

from pytask.exceptions import ConfigurationError, PartitionMismatch
from pytask.keys import Keys
from pytask.store import Store


def other_store(lab, partitions):
    keys = Keys(**lab.namespace.names, partitions=partitions, tagged=True)
    return Store(lab.store._link, keys, lab.store.settings)


def test_the_first_to_come_decides_and_the_same_number_agrees(lab):
    lab.store.agree_partitions()
    before = lab.snapshot()
    lab.store.agree_partitions()
    assert lab.snapshot() == before
    assert lab.call("GET", lab.keys.partition_count) == str(len(lab.store.partitions)).encode()


@pytest.mark.topologies("cluster")
def test_another_number_is_refused_with_both_numbers(lab):
    lab.store.agree_partitions()
    with pytest.raises(PartitionMismatch, match=r"partitions=7.* over 4") as caught:
        other_store(lab, 7).agree_partitions()
    assert isinstance(caught.value, ConfigurationError)
    lab.store.agree_partitions()


def test_data_of_a_cluster_are_refused_on_a_single_server_and_back(lab):
    ours = len(lab.store.partitions)
    lab.call("SET", lab.keys.partition_count, ours + 1)
    with pytest.raises(PartitionMismatch, match=rf"partitions={ours},.* over {ours + 1}"):
        lab.store.agree_partitions()


@pytest.mark.parametrize("value", ["", "many", "-1", "1.5"])
def test_a_number_that_is_none_is_refused_and_shown(lab, value):
    lab.call("SET", lab.keys.partition_count, value)
    with pytest.raises(PartitionMismatch, match=f"over {value}"):
        lab.store.agree_partitions()


@pytest.mark.topologies("cluster")
def test_of_many_who_come_first_one_number_wins(lab):
    def attempt(store):
        try:
            store.agree_partitions()
        except PartitionMismatch:
            return None
        return len(store.partitions)

    stores = [other_store(lab, 2 + number % 3) for number in range(18)]
    agreed = lab.race([lambda store=store: attempt(store) for store in stores])
    assert len(set(agreed) - {None}) == 1
    assert agreed.count(None) == 12


def test_a_repeat_has_one_effect(lab):
    store, tap = lab.repeating()
    store.agree_partitions()
    assert tap.first == str(len(lab.store.partitions)).encode()


def test_a_foreign_value_changes_nothing(lab):
    lab.check_wrong_types(lab.store.agree_partitions, {lab.keys.partition_count: b"string"})
