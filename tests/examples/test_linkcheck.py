"""The link checker, as people run it: a program of its own with workers of its own."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from examples.linkcheck.workers import Workers, WorkersLost
from tests.support.worker import WorkerProcess

PROGRAM = "-m examples.linkcheck"

README = """\
# Hello there

[a page](sub/page.html), [this heading](#hello-there), [no heading](#nowhere),
[no page](missing.md), [once more](missing.md), [elsewhere](https://example.org/),
[mail](mailto:a@b.c), ![a picture](picture.png)
"""
PAGE = """\
<h1 id="x">Title</h1>
<a href="../README.md#hello-there">up</a> <a href="#x">here</a> <a href=#y>not here</a>
<a href="../code.py#L2">code</a> <a href="../code.py#L9">no such line</a>
"""
CODE = "def first():\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with links and anchors, some of them broken."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "sub" / "page.html").write_text(PAGE)
    (tmp_path / "code.py").write_text(CODE)
    return tmp_path


def report_of(program: WorkerProcess) -> dict[str, Any]:
    """Read the JSON among what the program wrote."""
    lines = program.output.splitlines()
    return json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))


def is_alive(pid: int) -> bool:
    """Tell whether a process that need not be ours still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def workers_of(program: WorkerProcess) -> list[int]:
    pids = program.wait_for_line(r"workers ([\d, ]+)")[1]
    return [int(pid) for pid in pids.split(",")]


@pytest.mark.slow
def test_linkcheck_reports_every_broken_link_with_the_pages_it_is_on(
    worker_process: Any, folder: Path
) -> None:
    program = worker_process(PROGRAM, [str(folder), "--json"])
    assert program.wait(60) == 0
    report = report_of(program)

    assert {(row["url"], row["reason"]) for row in report["broken"]} == {
        ("README.md#nowhere", "no anchor #nowhere on the page"),
        ("missing.md", "404 Not Found"),
        ("picture.png", "404 Not Found"),
        ("sub/page.html#y", "no anchor #y on the page"),
        ("code.py#L9", "no anchor #L9 on the page"),
    }
    pages = {row["url"]: row["pages"] for row in report["broken"]}
    assert pages["missing.md"] == ["README.md"]
    assert pages["sub/page.html#y"] == ["sub/page.html"]
    assert report["failed"] == []
    # The two listings, README, page and code; the link to elsewhere is not followed.
    assert (report["pages"], report["skipped"]) == (5, 1)


@pytest.mark.slow
def test_linkcheck_reloads_stops_and_restarts_its_service_while_it_runs(
    worker_process: Any, folder: Path
) -> None:
    program = worker_process(PROGRAM, [str(folder), "--json", "--workers", "1"])
    assert program.wait(60) == 0
    history = report_of(program)["service"]

    acts = [row["event"] for row in history if row["event"] != "pulse"]
    assert acts == [
        "started",
        *("> reload", "reloaded"),
        *("> stop", "stopped"),
        *("> restart", "started"),
    ]
    intervals = [row["data"]["interval"] for row in history if row["event"] == "pulse"]
    assert intervals[0] == 0.5, "the data it was started with"
    assert intervals[-1] == 0.2, "the data it was reloaded with"


@pytest.mark.slow
def test_linkcheck_without_arguments_checks_this_project(worker_process: Any) -> None:
    program = worker_process(PROGRAM, ["--json"])
    assert program.wait(85) == 0
    report = report_of(program)

    assert report["tasks"] > 500
    assert report["pages"] > 100
    assert report["failed"] == []


@pytest.mark.slow
def test_linkcheck_is_strict_on_request_and_prints_a_table(
    worker_process: Any, folder: Path
) -> None:
    program = worker_process(PROGRAM, [str(folder), "--strict"], COLUMNS="120")
    assert program.wait(60) == 1
    assert re.search(r"missing\.md +│ 404 Not Found +│ README\.md", program.output)
    assert re.search(r"5 broken, 1 external ones skipped", program.output)


@pytest.mark.slow
def test_linkcheck_keeps_serving_until_it_is_interrupted(worker_process: Any, folder: Path) -> None:
    program = worker_process(PROGRAM, [str(folder), "--keep-running"])
    workers = workers_of(program)
    program.wait_for_line("Still serving", timeout=60)
    assert all(is_alive(pid) for pid in workers)
    program.signal(signal.SIGINT)
    assert program.wait(30) == 0
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no-such-folder"], "neither a folder nor"),
        (["--redis", "no-such-scheme://"], "a Redis URL starts with"),
    ],
)
def test_linkcheck_refuses_what_it_cannot_use(
    worker_process: Any, arguments: list[str], complaint: str
) -> None:
    program = worker_process(PROGRAM, arguments)
    assert program.wait(30) == 2
    assert complaint in program.output
    assert "Traceback" not in program.output


class SlowSite:
    """A site of the test's own whose pages, all but the first, wait until they are released."""

    def __init__(self, pages: int = 20) -> None:
        self.released = Event()
        self.asked = Event()
        self._links = "".join(f'<a href="/page{number}">x</a>' for number in range(pages))
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def _answer(self, environ: Any, respond: Any) -> list[bytes]:
        if environ["PATH_INFO"] != "/":
            self.asked.set()
            self.released.wait()
        respond("200 OK", [("Content-Type", "text/html")])
        return [self._links.encode()]

    def close(self) -> None:
        self.released.set()
        self._server.stop(timeout=1)


@pytest.fixture
def slow_site() -> Any:
    site = SlowSite()
    yield site
    site.close()


@pytest.mark.slow
def test_linkcheck_completes_although_a_worker_is_killed(
    worker_process: Any, slow_site: SlowSite
) -> None:
    program = worker_process(PROGRAM, [slow_site.url, "--json", "--workers", "2"])
    workers = workers_of(program)
    assert slow_site.asked.wait(30)
    # Its tasks hang in requests now. Whatever it ran moves to the other one.
    os.kill(workers[0], signal.SIGKILL)
    slow_site.released.set()
    assert program.wait(60) == 0
    report = report_of(program)
    assert (report["pages"], report["broken"], report["failed"]) == (21, [], [])


@pytest.mark.slow
def test_linkcheck_stops_cleanly_when_interrupted_in_the_middle(
    worker_process: Any, slow_site: SlowSite
) -> None:
    program = worker_process(PROGRAM, [slow_site.url])
    workers = workers_of(program)
    assert slow_site.asked.wait(30)
    program.signal(signal.SIGINT)
    assert program.wait(30) == 130
    assert "Traceback" not in program.output
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.slow
def test_linkcheck_leaves_no_worker_behind_when_it_is_killed(
    worker_process: Any, slow_site: SlowSite, wait_until: Any
) -> None:
    program = worker_process(PROGRAM, [slow_site.url])
    workers = workers_of(program)
    assert slow_site.asked.wait(30)
    program.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in workers), timeout=30)


def test_workers_that_all_end_are_reported(tmp_path: Path, wait_until: Any) -> None:
    with (tmp_path / "log").open("w+b") as log:
        workers = Workers(1, "no-such-scheme://", log)

        def report() -> str:
            try:
                workers.check()
            except WorkersLost as error:
                return str(error)
            return ""

        try:
            assert "a Redis URL starts with" in wait_until(report, timeout=30)
        finally:
            workers.close()
