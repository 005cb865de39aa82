"""What a task may expect is the same in all four concurrency modes."""

import fcntl
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.os import make_nonblocking
from greenlet import greenlet

from pytask import ConfigurationError, PyTask, Task
from pytask.concurrency.child_pool import ChildProcess
from pytask.concurrency.commands import read_all
from tests.support.process import bare_environment
from tests.support.waiting import wait_until
from tests.worker import tasks_of_modes as tasks
from tests.worker.conftest import LiveWorker, Serve

pytestmark = pytest.mark.topologies("valkey")

MODES = ["greenlet", "thread", "process", "asyncio"]
each_mode = pytest.mark.parametrize("mode", MODES)
other_modes = pytest.mark.parametrize("mode", MODES[1:])


@pytest.fixture
def note(tmp_path: Path) -> Callable[[], list[str]]:
    """What a task has noted; ``note.path`` is where."""

    def read() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    path = tmp_path / "note"
    read.path = str(path)  # type: ignore[attr-defined]
    return read


@pytest.fixture
def worker(serve: Serve) -> LiveWorker:
    return serve(*tasks.EACH, tasks.Other, stop_timeout=0.5, process_pool_size=2)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children do not measure their coverage.

    What is raised by a signal within coverage's own code is swallowed there, with gevent about one
    in a hundred, and here nothing follows that is firmer than a signal.
    """
    for name in os.environ.keys() - bare_environment().keys():
        monkeypatch.delenv(name)


def began(worker: LiveWorker, note: Any, name: str, what: str = "") -> str:
    """Start a task and wait until its code runs."""
    data = {"what": what} if what else {}
    task_id = worker.start(name, note=note.path, **data)
    wait_until(lambda: "began" in note())
    return task_id


@each_mode
def test_a_result_or_error_is_stored_as_ever(worker: LiveWorker, mode: str) -> None:
    state, output = worker.run_task(mode)
    assert (state, output["attempt"]) == ("SUCCESS", 1)
    assert (output["pid"] != os.getpid()) == (mode == "process")
    assert worker.run_task(mode, what="error") == ("ERROR", ["expected", 3])
    state, output = worker.run_task(mode, what="raise")
    assert state == "EXCEPTION"
    assert output.splitlines()[-1] == "ValueError: boom"
    assert "pytask/concurrency" not in output
    assert "tasks_of_modes.py" in output


@each_mode
def test_data_that_do_not_fit_are_a_clear_text(worker: LiveWorker, mode: str) -> None:
    state, output = worker.run_task(mode, nonsense=1)
    assert state == "EXCEPTION"
    assert "data does not fit" in output and "nonsense" in output and "Traceback" not in output


@each_mode
def test_a_task_is_tried_again_as_it_says(worker: LiveWorker, mode: str) -> None:
    task_id = worker.start(mode, what="retry")
    assert worker.wait_for(task_id, "SUCCESS") == "attempt 2"


@each_mode
def test_events_helpers_redis_and_commands_work(
    worker: LiveWorker, mode: str, namespace: Any
) -> None:
    future = worker.helpers.future("says")
    future.watch()
    worker.start(mode, task_id="says", what="says")
    said = [one.data for one in future.events(timeout=30) if one.name == "said"]
    assert said == [{"by": "says"}]
    key = f"{namespace.options['task_prefix']}used"
    assert worker.run_task(mode, what="uses", note=key) == (
        "SUCCESS",
        ["here", "the other's result"],
    )
    assert worker.run_task(mode, what="shells") == ("SUCCESS", [3, "out\n", "err\n", "a  b\n"])


@each_mode
def test_a_stopped_task_cleans_up_and_is_stopped(worker: LiveWorker, mode: str, note: Any) -> None:
    task_id = began(worker, note, mode, "sleeps")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert note() == ["began", "left"]


@each_mode
def test_a_task_that_lasts_too_long_is_revoked(worker: LiveWorker, mode: str, note: Any) -> None:
    future = worker.helpers.submit(mode, {"what": "sleeps", "note": note.path}, timeout=0.5)
    output = worker.wait_for(future.id, "REVOKED")
    assert output.startswith("timed out")
    assert note() in (["began", "left"], [])


@each_mode
def test_a_reloaded_task_starts_again(worker: LiveWorker, mode: str, note: Any) -> None:
    task_id = began(worker, note, mode, "sleeps")
    worker.helpers.set_task(task_id, {"data": '{"what": "return"}'})
    worker.helpers.reload_task(task_id)
    worker.wait_for(task_id, "SUCCESS")
    assert note() == ["began", "left"]


@each_mode
def test_a_worker_that_ends_requeues_what_runs(worker: LiveWorker, mode: str, note: Any) -> None:
    task_id = began(worker, note, mode, "sleeps")
    assert worker.stop() == 0
    assert worker.record(task_id)["state"] == "WAIT"
    assert note() == ["began", "left"]


@each_mode
def test_a_command_is_killed_with_all_it_has_started(
    worker: LiveWorker, mode: str, note: Any
) -> None:
    task_id = began(worker, note, mode, "runs_long")
    assert commands_with(note.path)
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    wait_until(lambda: not commands_with(note.path))


def commands_with(text: str) -> list[str]:
    """The processes whose command line mentions something, and all of their sessions."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                if text.encode() in line and os.getsid(int(entry.name)) != os.getsid(0):
                    found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.mark.parametrize(
    "task", [tasks.PoliteThread, tasks.PoliteProcess, tasks.PoliteCoroutine], ids=MODES[1:]
)
def test_stop_is_called_and_start_may_return_by_itself(
    serve: Serve, task: type[Task], note: Any
) -> None:
    worker = serve(task, stop_timeout=600.0)
    task_id = began(worker, note, task.NAME)
    worker.helpers.stop_task(task_id)
    assert worker.wait_for(task_id, "STOPPED") == {"offset": 17}
    assert note() == ["began", "stop"]


# What is special about each mode


def test_ten_thousand_coroutines_run_at_once_and_stop_at_once(serve: Serve) -> None:
    tasks.Many.gate = False
    worker = serve(tasks.Many, concurrency=10_000, stop_timeout=60.0)
    ids = worker.helpers.start_tasks([("many", {})] * 10_000)
    wait_until(lambda: tasks.Many.under_way == 10_000, 60)
    # None for each of them.
    assert sum(isinstance(one, greenlet) for one in gc.get_objects()) < 3_000
    for one in ids[:100]:
        worker.helpers.stop_task(one)
    wait_until(lambda: tasks.Many.under_way == 9_900, 60)
    tasks.Many.gate = True
    wait_until(lambda: worker.app.running == 0, 60)
    assert worker.record(ids[0])["state"] == "STOPPED"
    assert worker.record(ids[-1])["state"] == "SUCCESS"


def test_a_coroutine_that_suppresses_its_cancellation_is_abandoned(
    worker: LiveWorker, note: Any
) -> None:
    task_id = began(worker, note, "asyncio", "suppresses")
    worker.helpers.stop_task(task_id)
    assert "did not obey" in worker.wait_for(task_id, "STOPPED")
    assert note() == ["began", "swallowed", "swallowed"]
    assert worker.run_task("asyncio")[0] == "SUCCESS"


def test_a_coroutine_that_exits_does_not_end_the_loop(worker: LiveWorker) -> None:
    state, output = worker.run_task("asyncio", what="exits")
    assert state == "EXCEPTION" and "SystemExit: 3" in output
    assert worker.run_task("asyncio", what="threads") == ("SUCCESS", "in a thread")


def test_a_thread_that_takes_no_notice_is_abandoned_and_holds_its_place(serve: Serve) -> None:
    tasks.happened.clear()
    tasks.StubbornThread.go = False
    worker = serve(tasks.StubbornThread, tasks.InThread, stop_timeout=0.1, thread_pool_size=1)
    task_id = worker.start("stubborn-thread")
    wait_until(lambda: tasks.happened == ["began"])
    worker.helpers.stop_task(task_id)
    assert "did not obey" in worker.wait_for(task_id, "STOPPED")
    waiting = worker.start("thread")
    worker.wait_for(waiting, "RUNNING")
    assert tasks.happened == ["began"]
    tasks.StubbornThread.go = True
    assert worker.wait_for(waiting, "SUCCESS")


def test_a_worker_does_not_wait_for_a_thread_for_ever(serve: Serve) -> None:
    tasks.happened.clear()
    tasks.StubbornThread.go = False
    worker = serve(tasks.StubbornThread, stop_timeout=0.1)
    task_id = worker.start("stubborn-thread")
    wait_until(lambda: tasks.happened == ["began"])
    worker.stop()
    assert worker.record(task_id)["state"] == "WAIT"
    assert tasks.happened == ["began"]
    tasks.StubbornThread.go = True


def test_a_thread_that_blocks_does_not_block_the_hub(serve: Serve) -> None:
    worker = serve(tasks.Blocks)
    task_id = worker.start("blocks")
    worker.wait_for(task_id, "RUNNING")
    turns = 0
    while worker.record(task_id)["state"] == "RUNNING":
        gevent.sleep(0.01)
        turns += 1
    assert turns > 5


@pytest.mark.parametrize(
    ("what", "text"), [("dies", "signal SIGSEGV"), ("exits", "ended with exit code 3")]
)
def test_a_child_that_dies_fails_its_task_alone(
    worker: LiveWorker, note: Any, what: str, text: str
) -> None:
    other = began(worker, note, "process", "sleeps")
    state, output = worker.run_task("process", what=what)
    assert state == "EXCEPTION" and text in output and "Traceback" not in output
    assert worker.record(other)["state"] == "RUNNING"
    assert worker.run_task("process")[0] == "SUCCESS"


def test_a_child_that_does_not_obey_is_killed(worker: LiveWorker, note: Any) -> None:
    task_id = began(worker, note, "process", "ignores")
    worker.helpers.stop_task(task_id)
    worker.wait_for(task_id, "STOPPED")
    assert note() == ["began", "swallowed"]


def test_a_child_takes_and_leaves_what_the_serializer_of_the_app_can(serve: Serve) -> None:
    worker = serve(tasks.Doubles, serializer="msgpack", process_pool_size=1)
    future = worker.helpers.submit("doubles", {"value": b"\xff"})
    assert future.result(30) == b"\xff\xff"


def child_of(worker: LiveWorker) -> int:
    """Have a child made, which is idle, and return its process ID."""
    pid: int = worker.run_task("process")[1]["pid"]
    return pid


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("size", [10, 900_000])
def test_a_stop_that_comes_before_a_frozen_child_has_begun_is_obeyed(
    serve: Serve, note: Any, size: int
) -> None:
    """However much of the task is still under way to it."""
    worker = serve(tasks.InProcess, stop_timeout=600, process_pool_size=1)
    child = child_of(worker)
    os.kill(child, signal.SIGSTOP)
    task_id = worker.start("process", what="sleeps", note=note.path + " " * size)
    wait_until(lambda: any(run.instance for run in worker.parts.table.snapshot()))
    worker.helpers.stop_task(task_id)
    wait_until(lambda: is_signalled(child, signal.SIGTERM))
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGCONT)
    worker.wait_for(task_id, "STOPPED")
    assert worker.run_task("process")[0] == "SUCCESS"


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(f"{text}\n")


def is_signalled(pid: int, number: int) -> bool:
    """Whether a signal has been sent to a frozen process, or it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    pending = [line for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(int(line.split()[1], 16) & 1 << (number - 1) for line in pending)


@pytest.mark.usefixtures("unmeasured")
def test_a_child_is_interrupted_between_its_messages(serve: Serve, note: Any) -> None:
    """While it writes faster than the worker reads, so that it is in the middle of one."""
    worker = serve(tasks.InProcess, stop_timeout=600, process_pool_size=1)
    for _ in range(3):
        task_id = began(worker, note, "process", "floods")
        Path(note.path).unlink()
        worker.helpers.stop_task(task_id)
        worker.wait_for(task_id, "STOPPED")


def test_who_says_much_lets_others_have_their_turn() -> None:
    """So much that there is always more to read."""
    ours, theirs = os.pipe()
    size = fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 1 << 20)
    os.write(theirs, b"y" * size)
    os.close(theirs)
    make_nonblocking(ours)
    turns = 0
    reading = gevent.spawn(read_all, ours)
    while not reading.dead:
        turns += 1
        gevent.sleep(0)
    assert turns > size >> 17
    assert len(reading.value) == size
    os.close(ours)


def test_a_child_that_writes_into_its_channel_is_killed(worker: LiveWorker) -> None:
    state, output = worker.run_task("process", what="scribbles")
    assert state == "EXCEPTION" and "SIGKILL" in output
    assert worker.run_task("process")[0] == "SUCCESS"


def test_a_child_takes_no_task_while_stop_of_another_goes_on_in_it(
    serve: Serve, note: Any, tmp_path: Path
) -> None:
    worker = serve(tasks.LingersProcess, tasks.InProcess, stop_timeout=600, process_pool_size=1)
    first = began(worker, note, "lingers-process")
    worker.helpers.stop_task(first)
    wait_until(lambda: "stop" in note())
    second = worker.start("lingers-process", note=str(tmp_path / "second"))
    wait_until(lambda: second in [run.task_id for run in worker.parts.table.snapshot()])
    gevent.sleep(0.2)  # nothing is to happen
    assert not (tmp_path / "second").exists()
    add(Path(note.path), "may end")
    worker.wait_for(first, "STOPPED")
    wait_until(lambda: (tmp_path / "second").exists())
    add(tmp_path / "second", "may end")
    worker.helpers.stop_task(second)
    worker.wait_for(second, "STOPPED")


def test_an_idle_child_that_dies_takes_no_task_with_it() -> None:
    child = ChildProcess(lambda _: None)
    assert child.is_usable
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    # The hub has not turned since.
    assert not child.is_usable
    child.wait(30)


def test_children_are_used_again(worker: LiveWorker) -> None:
    pids = {worker.run_task("process")[1]["pid"] for _ in range(3)}
    assert len(pids) == 1


def test_logs_and_outputs_of_a_child_come_back_however_large(
    worker: LiveWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    task_id = worker.start("process", what="talks")
    worker.wait_for(task_id, "SUCCESS")
    said = [one for one in caplog.records if task_id in one.getMessage()]
    (record,) = [one for one in said if one.name == "of.child"]
    assert record.levelno == logging.WARNING and record.getMessage().count("x") == 300_000
    written = "".join(one.getMessage() for one in said if one.name == "pytask.child")
    assert written.count("y") == 30_000 and written.count("z") == 200_000
    lines = [one.getMessage() for one in said]
    assert [one for one in lines if "line " in one] == [
        f"task {task_id}: line {number}" for number in range(2_000)
    ]


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web_server() -> Iterator[str]:
    """A web server on this machine: host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        greenlet = gevent.spawn(server.serve_forever, 0.05)
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        greenlet.join()


def test_coroutines_talk_through_streams_of_asyncio(worker: LiveWorker, web_server: str) -> None:
    state, output = worker.run_task("asyncio", what="talks_to", note=web_server)
    assert (state, output) == ("SUCCESS", "HTTP/1.0 200 OK")


def test_every_mode_has_an_http_client(serve: Serve, web_server: str) -> None:
    pytest.importorskip("httpx")
    worker = serve(tasks.Fetches, tasks.FetchesInThread, tasks.FetchesInProcess, tasks.OnLoop)
    url = f"http://{web_server}/"
    for name in ("fetches", "fetches-thread", "fetches-process"):
        assert worker.run_task(name, note=url) == ("SUCCESS", "hello")
    assert worker.run_task("asyncio", what="fetches", note=url) == ("SUCCESS", "hello")
    assert worker.stop() == 0


# Which mode it is


def test_a_mode_that_cannot_be_is_refused() -> None:
    app = PyTask("redis://127.0.0.1:1")

    class Async(Task):
        CONCURRENCY = "thread"

        async def start(self) -> None: ...

    class Sync(Task):
        CONCURRENCY = "asyncio"

        def start(self) -> None: ...

    class AsyncStop(Task):
        def start(self) -> None: ...

        async def stop(self) -> None: ...  # type: ignore[override]

    class Unknown(Task):
        CONCURRENCY = "fibre"

        def start(self) -> None: ...

    class Hidden(Task):
        CONCURRENCY = "process"

        def start(self) -> None: ...

    for task_class, text in (
        (Async, "start.. is async"),
        (Sync, "needs `async def`"),
        (AsyncStop, "stop.. may be async only if"),
        (Unknown, "one of greenlet, asyncio, thread, process"),
        (Hidden, "defined inside a function"),
    ):
        with pytest.raises(ConfigurationError, match=text):
            app.add_task(task_class)
    with pytest.raises(ConfigurationError, match="is async"):

        @app.task(concurrency="greenlet")
        async def function() -> None: ...


def test_functions_choose_their_mode(serve: Serve) -> None:
    def prepare(app: PyTask) -> None:
        @app.task(concurrency="thread")
        def blocking(number: int) -> bool:
            return number == 3 and current_ident() != here

        @app.task
        async def awaiting(number: int) -> bool:
            return number == 3 and current_ident() != here

    current_ident = gevent.monkey.get_original("_thread", "get_ident")
    here = current_ident()
    worker = serve(prepare=prepare)
    assert worker.run_task("blocking", number=3) == ("SUCCESS", True)
    assert worker.run_task("awaiting", number=3) == ("SUCCESS", True)
