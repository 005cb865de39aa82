"""What whoever starts tasks relies on."""

from __future__ import annotations

import pytest

from pytask.exceptions import InvalidTask, PartitionMismatch
from pytask.helpers import PyTaskHelpers
from pytask.records import NewTask
from pytask.serializers import encode_value
from pytask.states import Code, State
from pytask.store import Store
from pytask.testing.conformance.site import Site, Sited


class Starting(Sited):
    """Enqueue, delay, expiry, queues, sizes."""

    @pytest.mark.parametrize(
        "data",
        [
            b'{"n":[],"big":12345678901234567890}',
            encode_value({"raw": bytes(range(256))}, "msgpack"),
        ],
        ids=["json", "msgpack"],
    )
    def test_data_arrive_to_the_byte(self, site: Site, data: bytes) -> None:
        task_id = site.waiting(data=data)
        (run,) = site.claim().claimed
        assert (run.task_id, run.task, run.data, run.attempts) == (task_id, "task", data, 1)

    def test_a_task_that_waits_is_not_started_twice(self, site: Site) -> None:
        task_id = site.waiting(data=b'{"n":1}')
        assert site.enqueue(task_id, data=b'{"n":2}') == [Code.EXISTS]
        assert site.queue() == [task_id]
        assert site.record(task_id)["data"] == '{"n":1}'

    def test_a_task_that_runs_is_not_started_twice(self, site: Site) -> None:
        run = site.running()
        assert site.enqueue(run.task_id) == [Code.EXISTS]
        assert (site.state(run.task_id), site.queue()) == ("RUNNING", [])

    def test_an_ended_task_starts_afresh(self, site: Site) -> None:
        task_id = site.ended()
        assert site.enqueue(task_id) == [Code.OK]
        assert "output" not in site.record(task_id)
        (run,) = site.claim().claimed
        assert (run.task_id, run.attempts) == (task_id, 1)

    def test_a_start_that_is_repeated_is_one_start(self, site: Site, repeating: Store) -> None:
        task_id = site.id()
        assert repeating.enqueue([NewTask(task_id, "task", b"{}")]) == [Code.ALREADY]
        assert site.queue() == [task_id]

    def test_the_same_id_started_by_many_at_once_is_one_task(self, site: Site) -> None:
        task = NewTask(site.id(), "task", b"{}")
        codes = site.beside(*[lambda store: store.enqueue([task])[0]] * 6)
        assert sorted(codes) == [Code.EXISTS] * 5 + [Code.OK]
        assert site.queue() == [task.task_id]

    def test_tasks_are_taken_in_the_order_they_were_started_in(self, site: Site) -> None:
        ids = site.ids(450)
        site.enqueue(*ids)
        taken = [run.task_id for _ in range(5) for run in site.claim(limit=90).claimed]
        assert taken == ids

    def test_a_queue_is_served_only_by_those_who_name_it_in_their_order(self, site: Site) -> None:
        plain = site.waiting()
        mail = site.waiting(queue="mail")
        assert site.claim(queues=["other"]).claimed == []
        taken = site.claim(queues=["mail", "default"]).claimed
        assert [run.task_id for run in taken] == [mail, plain]

    def test_a_delayed_task_waits_until_it_is_due(self, site: Site) -> None:
        task_id = site.waiting(delay=0.4)
        assert (site.claim().claimed, site.queue()) == ([], [])
        promoted = site.store.promote(site.partition)
        assert promoted.moved == 1 or 0 < (promoted.next_due_in or 0) < 0.5
        site.sees(lambda: site.store.promote(site.partition).moved or site.queue())
        (run,) = site.claim().claimed
        assert run.task_id == task_id

    def test_an_expired_task_is_revoked_and_not_run(self, site: Site) -> None:
        task_id = site.waiting(expires=0.001)
        site.sees(lambda: float(site.record(task_id)["expires"]) < site.store.server_time())
        reply = site.claim()
        assert (reply.claimed, [tuple(one) for one in reply.rejected]) == (
            [],
            [(task_id, "expired")],
        )
        assert site.state(task_id) == State.REVOKED

    def test_an_id_without_a_record_waits_for_one(self, site: Site) -> None:
        if site.has_own_store:
            pytest.skip("nobody pushes by hand here")
        task_id = site.id()
        names = site.store.keys.of(task_id)
        site.helpers.link.execute("LPUSH", names.new_queue(), task_id)
        reply = site.claim()
        assert (reply.claimed, reply.set_aside) == ([], 1)
        site.store.write_fields(task_id, {"task": "by hand", "data": "{}"})
        (run,) = site.claim().claimed
        assert run.task == "by hand"

    def test_ids_may_be_any_text(self, site: Site) -> None:
        ids = ["naïve ☃", "a{b}c", "x" * 512, "odd \udcff byte", "*?[a]"]
        assert site.enqueue(*ids) == [Code.OK] * len(ids)
        assert set(site.helpers.get_new_task_ids()) == set(ids)
        assert all(site.record(one)["task"] == "task" for one in ids)

    def test_the_largest_data_and_output_are_stored_whole(self, site: Site) -> None:
        size = site.settings.max_data_bytes
        data = b'{"a":"%b"}' % (b"x" * (size - 8))
        task_id = site.waiting(data=data)
        (run,) = site.claim().claimed
        assert run.data == data
        assert site.finish(run, output=data) is Code.OK
        assert len(site.record(task_id)["output"]) == len(data)

    def test_larger_data_are_refused_before_anything_is_stored(self, site: Site) -> None:
        size = site.settings.max_data_bytes
        with pytest.raises(InvalidTask, match=f"max_data_bytes={size:,}"):
            site.helpers.submit("task", {"a": "x" * size}, task_id="large")
        assert site.record("large") == {}

    def test_another_number_of_partitions_is_refused(self, site: Site) -> None:
        if not site.backend.is_cluster:
            pytest.skip("there is one partition in any case")
        settings = site.settings.with_options(partitions=site.settings.partitions + 1)
        with pytest.raises(PartitionMismatch, match=f"partitions={settings.partitions}"):
            _ = PyTaskHelpers.of(site.backend, settings).store
