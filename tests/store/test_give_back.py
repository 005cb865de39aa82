"""give_back: claim list -> the queue it was taken from."""

from pytask.records import new_request_id
from pytask.states import State


def give_back(lab, queues=("default",), store=None, **options):
    return (store or lab.store).give_back(lab.partition, worker="w", queues=queues, **options)


def pop(lab, number, queue="default"):
    for _ in range(number):
        assert lab.store.wait_for_task(lab.partition, queue, "w", 1)


def test_popped_ids_return_to_the_front_in_their_old_order(lab):
    ids = lab.ids(4)
    lab.enqueue(*ids)
    pop(lab, 3)
    assert lab.queue() == ids[3:]

    assert give_back(lab) == 3

    assert lab.queue() == ids
    assert lab.entries(lab.names.new_claim("default", "w")) == []


def test_each_queue_gets_its_own(lab):
    plain, mail, other = lab.waiting(), lab.waiting(queue="mail"), lab.waiting(queue="other")
    for queue in ("default", "mail", "other"):
        pop(lab, 1, queue)
    assert give_back(lab, ["default", "mail"]) == 2
    assert (lab.queue(), lab.queue("mail"), lab.queue("other")) == ([plain], [mail], [])
    assert lab.entries(lab.names.new_claim("other", "w")) == [other]


def test_what_a_cleanup_deals_with_stays_when_asked(lab):
    """A worker without a free slot must not take ended tasks from its own Cleanup."""
    ended = lab.ended()
    task_id = lab.waiting()
    lab.store.take_ended(lab.partition, "w")
    pop(lab, 1)
    assert give_back(lab, keep_ended=True) == 1
    assert lab.queue() == [task_id]
    assert lab.entries(lab.names.end_claim("w")) == [ended]
    assert "end_entry" not in lab.record(ended)


def test_claim_lists_of_other_workers_stay(lab):
    lab.waiting()
    lab.store.wait_for_task(lab.partition, "default", "other", 1)
    before = lab.snapshot()
    assert give_back(lab) == 0
    assert lab.snapshot() == before


def test_the_memory_of_the_last_claim_goes_only_when_asked(lab):
    lab.running(worker="w")
    lab.running(worker="other")
    give_back(lab)
    assert lab.call("HEXISTS", lab.names.claims, "w") == 1
    give_back(lab, forget=True)
    assert lab.call("HEXISTS", lab.names.claims, "w") == 0
    assert lab.call("HEXISTS", lab.names.claims, "other") == 1


def test_a_repeat_has_one_effect(lab):
    task_id = lab.waiting()
    pop(lab, 1)
    store, tap = lab.repeating()
    assert give_back(lab, store=store) == 0
    assert tap.first == 1
    assert lab.queue() == [task_id]


def test_of_many_who_give_back_one_does(lab):
    ids = lab.ids(10)
    lab.enqueue(*ids)
    pop(lab, 10)
    assert sorted(lab.race([lambda: give_back(lab)] * 10)) == [0] * 9 + [10]
    assert lab.queue() == ids


def test_a_claim_and_a_return_at_once_lose_nothing_and_start_nothing_twice(lab):
    ids = lab.ids(10)
    lab.enqueue(*ids)
    pop(lab, 10)
    reply, _ = lab.race([lambda: lab.claim(5), lambda: give_back(lab)])
    rest = lab.claim(worker="w2").claimed
    assert sorted(run.task_id for run in [*reply.claimed, *rest]) == sorted(ids)


def test_ended_tasks_a_cleanup_held_return_to_the_end_queue(lab):
    first, second = lab.ended(), lab.ended(State.ERROR)
    assert len(lab.store.take_ended(lab.partition, "w")) == 2
    assert lab.end_queue() == []

    assert give_back(lab) == 2

    assert lab.end_queue() == [first, second]
    assert "end_claim" not in lab.record(first)
    taken = lab.store.take_ended(lab.partition, "other")
    assert [one.task_id for one in taken] == [first, second]


def test_an_end_that_was_given_back_stands_in_the_end_queue_once(lab):
    task_id = lab.ended()
    lab.store.take_ended(lab.partition, "w")
    give_back(lab)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.end_queue() == [task_id]


def test_an_end_that_is_held_twice_is_given_back_once(lab):
    """The Cleanup was told of it, the task ran again, and its second end was popped as well."""
    task_id = lab.ended()
    lab.store.take_ended(lab.partition, "w")
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.store.wait_for_ended(lab.partition, "w", 1)
    assert lab.entries(lab.names.end_claim("w")) == [task_id, task_id]

    give_back(lab)

    assert lab.end_queue() == [task_id]


def test_a_removed_task_is_not_made_again(lab):
    task_id = lab.ended()
    lab.store.take_ended(lab.partition, "w")
    lab.store.remove(task_id)
    give_back(lab)
    assert not lab.record(task_id)
    assert lab.store.take_ended(lab.partition, "w") == []
    assert lab.end_queue() == []


def test_foreign_values_under_our_keys_change_nothing(lab):
    lab.waiting(queue="mail")
    pop(lab, 1, "mail")
    lab.ended()
    lab.store.take_ended(lab.partition, "w")
    names = lab.names
    keys = {
        names.claims: b"hash",
        names.end_claim("w"): b"list",
        names.end_queue: b"list",
        names.new_claim("mail", "w"): b"list",
        names.new_queue("mail"): b"list",
    }
    lab.check_wrong_types(lambda: give_back(lab, ["mail"]), keys)


def test_all_claim_lists_are_found_with_their_owners(lab):
    lab.ended()
    lab.waiting()
    lab.waiting(queue="mail")
    pop(lab, 1)
    pop(lab, 1, "mail")
    lab.store.take_ended(lab.partition, "w2")
    # Names of another installation that begin like ours.
    lab.call("LPUSH", f"{lab.keys.new_queue}-two:claim:w", "x")

    found = {lab.keys.owner_of_claim_list(key) for key in lab.store.find_claim_lists()}

    assert found - {None} == {
        (lab.partition, "default", "w"),
        (lab.partition, "mail", "w"),
        (lab.partition, "default", "w2"),
    }


def test_the_last_claims_of_its_waiters_are_forgotten_as_well(lab):
    def claim(worker, waits_at=""):
        lab.waiting()
        claimed = lab.store.claim(
            lab.partition,
            worker=worker,
            queues=["default"],
            limit=1,
            request=new_request_id(),
            waits_at=waits_at,
        ).claimed
        assert len(claimed) == 1

    claim("w")
    claim("w", waits_at="default")
    claim("w", waits_at="mail")
    claim("w2")
    claim("w2", waits_at="default")
    assert sorted(lab.store.list_claimers(lab.partition)) == ["w", "w2"]
    lab.store.give_back(lab.partition, worker="w", queues=[], forget=True)
    assert lab.call("HLEN", lab.names.claims) == 2
    assert lab.store.list_claimers(lab.partition) == ["w2"]
