"""Worker processes can be watched, signalled and blamed."""

import signal

import pytest

SCRIPT = """
    import signal, sys, time
    from tests.support.tell import tell
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    print("hello", *sys.argv[1:])
    tell("ready", number=1)
    time.sleep(60)
"""


def test_a_process_is_heard_and_signalled(worker_process):
    worker = worker_process(SCRIPT, ["there", [1]])

    assert worker.wait_for_line("hello (.*)")[1] == "there [1]"
    assert worker.wait_for_event("ready")["number"] == 1
    assert worker.stop() == 3


def test_a_killed_process_reports_the_signal(worker_process):
    worker = worker_process(SCRIPT)
    worker.wait_for_event("ready")
    worker.kill()
    assert worker.wait() == -signal.SIGKILL


def test_waiting_for_a_process_that_ended_shows_its_output(worker_process):
    worker = worker_process("raise SystemExit('no luck')")
    with pytest.raises(AssertionError, match=r"(?s)ended with 1.*no luck"):
        worker.wait_for_event("ready")
