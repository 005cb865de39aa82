"""keys: the names of everything in Redis."""

import pytest

from pytask.exceptions import ConfigurationError
from pytask.keys import DEFAULT_QUEUE, RESERVED_QUEUES, ClaimList, Keys, check_queue_name
from tests.support.cluster import slot_of


def test_a_single_redis_has_the_documented_names():
    keys = Keys()
    names = keys.of("ID")
    assert names.record("ID") == "task-ID"
    assert names.new_queue() == names.new_queue(DEFAULT_QUEUE) == "new-task"
    assert names.new_queue("mail") == "new-task:mail"
    assert names.new_claim("default", "W") == "new-task:claim:W"
    assert names.new_claim("mail", "W") == "new-task:mail:claim:W"
    assert names.missing() == "new-task:missing"
    assert names.missing("mail") == "new-task:mail:missing"
    assert (names.delayed, names.claims) == ("new-task:delayed", "new-task:claims")
    assert (names.end_queue, names.end_claim("W")) == ("end-task", "end-task:claim:W")
    assert (names.tasks, names.leases, names.failed) == ("tasks", "tasks:lease", "tasks:failed")
    assert (keys.workers, keys.worker("W")) == ("tasks:workers", "tasks:worker:W")
    assert keys.partition_count == "tasks:partitions"


def test_a_cluster_has_the_same_names_with_a_tag_behind_the_base():
    keys = Keys(partitions=4, tagged=True)
    names = keys.partitions[3]
    assert names.record("ID") == "task-{3}ID"
    assert names.new_queue("mail") == "new-task{3}:mail"
    assert names.new_claim("mail", "W") == "new-task{3}:mail:claim:W"
    assert (names.delayed, names.leases) == ("new-task{3}:delayed", "tasks{3}:lease")
    assert names.end_claim("W") == "end-task{3}:claim:W"
    assert keys.workers == "tasks{fleet}:workers"
    assert keys.worker("W") == "tasks{fleet}:worker:W"
    assert keys.partition_count == "tasks{fleet}:partitions"


@pytest.mark.parametrize("task_id", ["ID", "{x}", "}{", "a{b", "é", "\udcff", "{3}"])
def test_every_key_of_a_partition_is_in_one_slot_whatever_the_id(task_id):
    keys = Keys(partitions=16, tagged=True)
    names = keys.of(task_id)
    assert slot_of(names.record("ID")) == slot_of(names.new_queue())
    assert names.record(task_id).startswith(f"task-{{{names.number}}}")


def test_channels_carry_no_tag():
    for keys in (Keys(), Keys(partitions=4, tagged=True)):
        assert keys.events_channel("ID") == "task-ID"
        assert keys.control_channel("ID") == "task-ID-control"
        assert keys.task_of_control_channel("task-ID-control") == "ID"
        assert keys.task_of_control_channel("task-ID") is None
        assert keys.task_of_control_channel("other-control") is None


def test_ids_spread_over_all_partitions_and_stay_there():
    keys = Keys(partitions=16, tagged=True)
    found = [keys.partition_of(str(number)) for number in range(2_000)]
    assert set(found) == set(range(16))
    assert min(found.count(number) for number in range(16)) > 60
    # The value is stored data by now: crc32 of the UTF-8 bytes, modulo the partitions.
    assert keys.partition_of("123456789") == 0xCBF43926 % 16


def test_records_are_told_from_other_keys():
    single, cluster = Keys(), Keys(partitions=4, tagged=True)
    assert single.task_of_record("task-ID") == "ID"
    assert single.task_of_record("tasks") is None
    own = cluster.of("ID").record("ID")
    assert cluster.task_of_record(own) == "ID"
    foreign = (cluster.partition_of("ID") + 1) % 4
    for key in (f"task-{{{foreign}}}ID", "task-ID", "task-{9}ID", "task-{", "other"):
        assert cluster.task_of_record(key) is None


@pytest.mark.parametrize("keys", [Keys(), Keys(partitions=4, tagged=True)], ids=["one", "four"])
def test_the_owner_of_a_claim_list_is_read_from_its_name(keys):
    names = keys.partitions[-1]
    number = names.number
    owner = keys.owner_of_claim_list
    assert owner(names.new_claim("default", "W")) == ClaimList(number, "default", "W")
    assert owner(names.new_claim("mail", "h:1")) == ClaimList(number, "mail", "h:1")
    assert owner(names.end_claim("W")) == ClaimList(number, "default", "W")
    for key in (names.new_queue("mail"), names.claims, "new-task2:claim:W", "x:claim:W"):
        assert owner(key) is None
    assert owner(names.new_queue() + ":claim:") is None


def test_patterns_match_literally():
    keys = Keys(task_prefix="t*[1]?-")
    assert keys.events_pattern == r"t\*\[1\]\?-*"
    assert keys.control_pattern == r"t\*\[1\]\?-*-control"
    assert keys.records_pattern == r"t\*\[1\]\?-*"
    assert Keys(tagged=True).records_pattern == "task-{*}*"


@pytest.mark.parametrize("queue", ["a", "mail", "A-1.b_c", "x" * 64, "default"])
def test_usable_queue_names_pass(queue):
    assert check_queue_name(queue) == queue


@pytest.mark.parametrize(
    "queue", ["", "x" * 65, "a b", "a:b", "a{b}", "é", "a\n", *sorted(RESERVED_QUEUES)]
)
def test_unusable_queue_names_are_refused_and_shown(queue):
    with pytest.raises(ConfigurationError) as caught:
        check_queue_name(queue)
    assert repr(queue) in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"task_set": ""},
        {"task_prefix": "a{b"},
        {"new_queue": "}"},
        {"task_set": "same", "end_queue": "same"},
        {"partitions": 0},
        {"partitions": 2},
        {"partitions": -1, "tagged": True},
    ],
    ids=str,
)
def test_names_that_cannot_work_are_refused(options):
    with pytest.raises(ConfigurationError):
        Keys(**options)
