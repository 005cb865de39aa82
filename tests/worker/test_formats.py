"""What apps of different serializers write and read, through a worker."""

import json
from typing import Any

import pytest

from pytask import InvalidTask, PyTask, PyTaskHelpers, Task, TaskFailed, decode_value
from pytask.messages import read_message
from tests.support.waiting import PATIENCE, wait_until
from tests.worker.conftest import Serve

PICTURE = bytes(range(256))


class Crop(Task):
    """Returns the beginning of what it is given, and says so."""

    NAME = "crop"

    def __init__(self, picture: Any = b"", length: int = 4) -> None:
        self.picture, self.length = picture, length

    def start(self) -> Any:
        self.emit("cropping", {"of": self.picture})
        return {"picture": self.picture[: self.length]}


class Fails(Task):
    NAME = "fails"

    def __init__(self, how: str) -> None:
        self.how = how

    def start(self) -> Any:
        if self.how == "expected":
            raise self.Error(b"\xff")
        if self.how == "large":
            return b"x" * 5000
        if self.how == "unfit":
            return {"seen": [{1, 2}]}
        raise ValueError("a bug")


class Reloads(Task):
    NAME = "reloads"

    def __init__(self, number: int = 0, raw: bytes = b"") -> None:
        self.number, self.raw = number, raw

    def start(self) -> Any:
        self.emit("has", [self.number, self.raw])
        while not self.number:
            self._pause()
        return self.raw

    def _pause(self) -> None:
        import gevent

        gevent.sleep(0.01)


@pytest.mark.topologies("valkey", "cluster")
def test_bytes_go_to_a_task_and_come_back(serve: Serve) -> None:
    worker = serve(Crop, serializer="msgpack")
    future = worker.helpers.submit("crop", {"picture": PICTURE}, cleanup=False, watch=True)

    events = {event.name: event.data for event in future.events(PATIENCE)}

    assert future.result(PATIENCE) == {"picture": PICTURE[:4]}
    assert events["cropping"] == {"of": PICTURE}
    assert events["success"] == {"picture": PICTURE[:4]}
    assert events["started"] == {"attempt": 1}
    record = worker.helpers.get_task(future.id)
    assert decode_value(record["data"]) == {"picture": PICTURE}


@pytest.mark.topologies("valkey")
def test_apps_of_both_serializers_work_for_each_other(
    serve: Serve, address: Any, namespace: Any, raw: Any
) -> None:
    clients = {
        name: PyTaskHelpers(address, **namespace.options, serializer=name)
        for name in ("json", "msgpack")
    }
    for ran_by in ("json", "msgpack"):
        worker = serve(Crop, serializer=ran_by)
        for started_by, client in clients.items():
            future = client.submit("crop", {"picture": "text"}, cleanup=False)
            for asked_by in clients.values():
                assert asked_by.future(future.id).result(PATIENCE) == {"picture": "text"}
            record = client.get_task(future.id)
            assert record["data"].startswith("{") is (started_by == "json")
            assert record["output"].startswith("{") is (ran_by == "json")
        # Written by hand, for whichever app.
        by_hand = {"task": "crop", "data": '{"picture": "text", "length": 1}'}
        raw.hset(namespace.task_prefix + ran_by, mapping=by_hand)
        raw.lpush(namespace.new_queue, ran_by)
        assert clients["json"].future(ran_by).result(PATIENCE) == {"picture": "t"}
        worker.stop()
    for client in clients.values():
        client.close()


@pytest.mark.topologies("valkey")
def test_an_explanation_of_a_failure_can_be_read_with_redis_cli(serve: Serve) -> None:
    worker = serve(Crop, Fails, serializer="msgpack", max_output_bytes=1000)

    def output(**data: Any) -> Any:
        return worker.run_task("fails", **data)[1]

    assert "5,004 bytes of MessagePack" in output(how="large")
    assert "max_output_bytes=1,000" in output(how="large")
    assert "field 'seen[0]' holds a set" in output(how="unfit")
    assert "ValueError: a bug" in output(how="bug")
    future = worker.helpers.submit("fails", {"how": "expected"}, cleanup=False)
    with pytest.raises(TaskFailed) as failed:
        future.result(PATIENCE)
    assert failed.value.output == b"\xff"


@pytest.mark.topologies("valkey")
@pytest.mark.parametrize("data", [b"\xc1", b"\xc1\x93\x01", b"\xc1\x93\x01\x02\x03", b"\xc1\x05"])
def test_data_that_cannot_be_read_end_the_task_with_a_sentence(
    serve: Serve, address: Any, namespace: Any, data: bytes
) -> None:
    worker = serve(Crop)
    worker.helpers.store.write_fields("odd", {"task": "crop", "data": data})
    worker.helpers.link.execute("LPUSH", namespace.new_queue, "odd")
    wait_until(lambda: worker.record("odd").get("state") == "EXCEPTION")
    said = json.loads(worker.record("odd")["output"])
    assert "data of this 'crop' task is" in said


@pytest.mark.parametrize("message", [b"\xc1", b"\xc1\x05", b"\xc1\x81\xa5event\x01", b"\xc1\x80"])
def test_a_message_that_is_no_event_is_none(message: bytes) -> None:
    assert read_message("t", message) is None


@pytest.mark.topologies("valkey")
def test_a_reload_reads_what_was_written_meanwhile(serve: Serve) -> None:
    worker = serve(Reloads, serializer="msgpack")
    future = worker.helpers.submit("reloads", cleanup=False, watch=True)
    assert next(event for event in future.events(PATIENCE) if event.name == "has")

    worker.helpers.set_task(future.id, {"data": {"number": 1, "raw": b"\xff"}, "note": [1]})
    assert future.reload()

    assert future.result(PATIENCE) == b"\xff"
    assert worker.record(future.id)["note"] == "[1]"
    with pytest.raises(InvalidTask, match="max_data_bytes=1,000,000"):
        worker.helpers.set_task(future.id, "data", {"raw": b"x" * 1_000_000})


@pytest.mark.topologies("valkey")
def test_functions_and_schedules_take_what_the_serializer_takes(serve: Serve) -> None:
    def reverse(raw: bytes, plain: Any = None) -> Any:
        return [raw[::-1], plain]

    made: list[Any] = []

    def prepare(app: PyTask) -> None:
        made.append(app.task(reverse))
        app.schedule("reverse", run_every=3600, data={"raw": b"\xff"})
        with pytest.raises(InvalidTask, match="field 'raw' holds a set"):
            app.schedule("reverse", name="other", run_every=3600, data={"raw": {1}})

    worker = serve(prepare=prepare, serializer="msgpack")
    future = made[0].options(cleanup=False).submit(b"ab", plain=b"\x00")

    assert future.result(PATIENCE) == [b"ba", b"\x00"]
    assert decode_value(worker.record(future.id)["data"])["raw"] == b"ab"
