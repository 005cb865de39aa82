"""``pytask stop``, ``reload``, ``restart`` and ``remove``."""

from tests.support.waiting import wait_until


def test_waiting_tasks_are_stopped_and_an_unknown_one_is_reported(shell):
    shell.enqueue("a", "b")

    done = shell("stop", "a", "nobody", "b")

    assert done.code == 1
    assert done.lines == ["a: stopped", "b: stopped"]
    assert "cannot stop task nobody: there is no such task" in done.complaint
    assert shell.state("a") == shell.state("b") == "STOPPED"


def test_results_are_one_json_object_for_each_task(shell):
    shell.enqueue("a")
    shell.make_ended("over")

    done = shell("stop", "a", "over", "--json")

    assert done.code == 1
    assert [(one["id"], one["ok"], one["code"]) for one in done.objects] == [
        ("a", True, "OK"),
        ("over", False, "WRONG_STATE"),
    ]


def test_a_running_task_is_reloaded_and_stopped_by_its_worker(busy_shell):
    busy_shell.enqueue("service", task="jobs/rest")
    wait_until(lambda: busy_shell.state("service") == "RUNNING")

    reloaded = busy_shell("reload", "service")
    assert (reloaded.code, reloaded.lines) == (0, ["service: is being reloaded by its worker"])
    stopped = busy_shell("stop", "service")
    assert (stopped.code, stopped.lines) == (0, ["service: is being stopped by its worker"])
    wait_until(lambda: busy_shell.state("service") == "STOPPED")


def test_a_task_that_is_not_running_cannot_be_reloaded(shell):
    shell.enqueue("a")

    done = shell("reload", "a")

    assert done.code == 1
    assert "cannot reload task a: is not running" in done.complaint


def test_ended_tasks_are_restarted(shell):
    shell.make_ended("x")
    shell.enqueue("waits")

    done = shell("restart", "x", "waits")

    assert (done.code, done.err) == (0, "")
    assert done.lines == ["x: waits to be started", "waits: is waiting or running already"]
    assert shell.state("x") == "WAIT"


def test_restart_can_be_limited_to_states(shell):
    shell.make_ended("x", "ERROR")
    shell.make_ended("y", "EXCEPTION")

    done = shell("restart", "--if-state", "exception", "x", "y")

    assert done.code == 1
    assert done.lines == ["y: waits to be started"]
    assert "cannot restart task x: is in none of the states" in done.complaint


def test_a_running_task_is_removed_only_by_force(busy_shell):
    busy_shell.enqueue("clings", task="jobs/rest")
    wait_until(lambda: busy_shell.state("clings") == "RUNNING")

    refused = busy_shell("remove", "clings")
    assert refused.code == 1
    assert "is running; stop it first, or use --force" in refused.complaint
    assert busy_shell("remove", "clings", "--force").lines == ["clings: removed"]
    assert busy_shell.record("clings") == {}


def test_a_key_of_another_type_is_reported(shell):
    shell.raw.set(shell.names.task_prefix + "odd", "text")

    done = shell("remove", "odd")

    assert done.code == 1
    assert "cannot remove task odd: its key holds something that is no task" in done.complaint
    assert shell.raw.get(shell.names.task_prefix + "odd") == "text"


def test_an_id_that_cannot_be_one_keeps_all_tasks_untouched(shell):
    shell.enqueue("a")

    done = shell("stop", "a", "")

    assert done.code == 2
    assert shell.state("a") == "WAIT"
