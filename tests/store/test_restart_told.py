"""restart: it is told that the task has come into its queue."""

import json


def test_what_is_restarted_is_told_to_be_queued_once_and_a_refusal_is_not(lab, events_of):
    events = events_of()
    running, ended, other = lab.running().task_id, lab.ended(), lab.ended()
    assert [json.loads(events.get())["tasks"] for _ in range(3)] == [[running], [ended], [other]]
    store, _ = lab.repeating()
    store.restart(running)
    for task_id in (ended, other):
        store.restart(task_id)
    found = [json.loads(events.get()) for _ in range(2)]
    assert found == [{"event": "queued", "tasks": [one]} for one in (ended, other)]
