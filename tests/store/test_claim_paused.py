"""claim: of a paused queue nothing is taken, and nothing gets lost."""

from pytask.states import Code, State


def test_of_a_paused_queue_nothing_is_claimed(lab):
    lab.waiting(queue="mail")
    other = lab.waiting()
    assert lab.store.pause("mail") is Code.OK

    reply = lab.claim(queues=["mail", "default"])

    assert [run.task_id for run in reply.claimed] == [other]
    assert list(reply.paused) == ["mail"]
    assert len(lab.queue("mail")) == 1
    assert not reply.more


def test_what_a_blocking_pop_took_goes_back_to_its_place(lab):
    first, second, third = ids = lab.ids(3)
    lab.enqueue(*ids)
    for _ in range(2):
        assert lab.store.wait_for_task(lab.partition, "default", "w", 1)
    lab.store.pause("default")

    reply = lab.claim()

    assert (reply.claimed, reply.rejected) == ([], [])
    assert lab.queue() == [first, second, third]
    assert lab.entries(lab.names.new_claim("default", "w")) == []
    lab.store.resume("default")
    assert [run.task_id for run in lab.claim().claimed] == ids


def popped_of_a_paused_queue(lab):
    task_id = lab.waiting()
    assert lab.store.wait_for_task(lab.partition, "default", "w", 1)
    lab.store.pause("default")
    return task_id


def test_what_a_blocking_pop_took_goes_back_to_a_queue_that_is_empty_now(lab):
    task_id = popped_of_a_paused_queue(lab)
    assert lab.claim().claimed == []
    assert lab.queue() == [task_id]


def test_nothing_goes_back_to_a_key_that_is_no_queue(lab):
    popped_of_a_paused_queue(lab)
    lab.check_wrong_types(lab.claim, {lab.names.new_queue(): b"list"})


def test_a_repeated_claim_of_a_paused_queue_puts_back_once(lab):
    ids = lab.ids(2)
    lab.enqueue(*ids)
    lab.store.wait_for_task(lab.partition, "default", "w", 1)
    lab.store.pause("default")
    store, _ = lab.repeating()
    lab.claim(store=store)
    assert lab.queue() == ids


def test_a_claim_whose_reply_was_lost_is_answered_although_the_queue_is_paused_since(lab):
    task_id = lab.waiting()
    request = "0" * 16
    lab.claim(request=request)
    lab.store.pause("default")
    assert [run.task_id for run in lab.claim(request=request).claimed] == [task_id]


def test_an_id_without_a_record_does_not_run_out_of_time_while_its_queue_is_paused(lab):
    ghost = lab.id("ghost")
    lab.push(ghost)
    lab.claim()
    lab.call("ZADD", lab.names.missing(), 1, ghost)
    lab.store.pause("default")

    reply = lab.claim()

    assert (reply.set_aside, reply.rejected) == (0, [])
    lab.put(ghost, task="x")
    lab.store.resume("default")
    assert [run.task_id for run in lab.claim().claimed] == [ghost]


def test_an_expired_task_is_revoked_only_when_its_queue_is_resumed(lab):
    task_id = lab.waiting(expires=60.0)
    lab.put(task_id, expires="1")
    lab.store.pause("default")
    lab.claim()
    assert lab.state(task_id) == State.WAIT
    lab.store.resume("default")
    lab.claim()
    assert lab.state(task_id) == State.REVOKED


def test_a_foreign_key_among_the_paused_ones_stops_a_claim(lab):
    lab.waiting()
    lab.check_wrong_types(lab.claim, {lab.names.paused: b"set"})
