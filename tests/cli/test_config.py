"""``pytask config`` and ``--config``."""

import pytest


@pytest.fixture
def project(shell, tmp_path):
    """The shell, in a directory of its own with a configuration file."""
    (tmp_path / "jobs.py").write_text((shell.directory / "jobs.py").read_text())
    (tmp_path / "pytask.toml").write_text(
        'app = "jobs"\nconcurrency = 5\nclaim_batch = 5\nfinish_batch = 5\nlog_level = "debug"\n'
    )
    object.__setattr__(shell, "directory", tmp_path)
    return shell


def table(result):
    assert result.code == 0, result.err
    return {row["setting"]: (row["value"], row["source"]) for row in result.objects}


def test_every_setting_is_shown_with_where_it_came_from(project):
    rows = table(
        project(
            "config",
            "--json",
            "--finish-batch",
            "7",
            PYTASK_CLAIM_BATCH="6",
            PYTASK_REDIS="redis://user:secret@host/3",
            PYTASK_APP="",
        )
    )
    assert rows["concurrency"] == (5, "pytask.toml: concurrency")
    assert rows["claim_batch"] == (6, "PYTASK_CLAIM_BATCH")
    assert rows["finish_batch"] == (7, "--finish-batch")
    assert rows["drain_timeout"] == (0, "default")
    assert rows["redis"] == ("redis://host:6379/3", "PYTASK_REDIS")
    assert rows["app"] == ("jobs", "pytask.toml: app")
    assert rows["log_level"] == ("debug", "pytask.toml: log_level")
    assert rows["no_monitor"] == (False, "default")


def test_without_an_app_the_defaults_are_shown_and_with_one_its_code_is_named(shell):
    shell_variables = {name: "" for name in shell.variables if name.startswith("PYTASK_")}
    lines = shell("config", **shell_variables).lines
    assert lines[0] == "SETTING\tVALUE\tFROM"
    assert "redis\tredis://localhost:6379\tdefault" in lines
    assert 'queues\t["default"]\tdefault' in lines
    lines = shell("config", "-A", "jobs", **shell_variables).lines
    assert "redis\tredis://127.0.0.1:1\tcode" in lines


def test_a_worker_follows_the_file_that_a_variable_names(project, spawn):
    worker = spawn("worker", PYTASK_CONFIG=f"{project.directory}/pytask.toml")
    worker.wait_for_line("up to 5 at a time")
    assert worker.stop() == 0


def test_no_code_runs_because_of_the_directory_a_client_is_called_in(project):
    (project.directory / "jobs.py").write_text("raise SystemExit('executed')")
    done = project("status", "--json")
    assert done.code == 0 and "executed" not in done.err
    done = project("status", "--json", "--config", "pytask.toml")
    assert "executed" in done.err


def test_a_client_takes_names_and_address_from_the_file(project):
    project.enqueue("one")
    said = {"redis": project.server.url, **project.names.options}
    lines = [f"{name} = {value!r}" for name, value in said.items()]
    (project.directory / "names.toml").write_text("\n".join(lines))
    variables = {name: "" for name in project.variables if name.startswith("PYTASK_")}
    done = project("list", "--ids", "--config", "names.toml", **variables)
    assert done.lines == ["one"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("concurrency = 0", "concurrency=0 is out of range (concurrency comes from bad.toml: "),
        ("queue = 'x'", "bad.toml: unknown key 'queue', did you mean 'queues'?"),
        ("log_level = 'loud'", "bad.toml: log_level: 'loud' is not one of"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(shell, text, complaint):
    (shell.directory / "bad.toml").write_text(text)
    done = shell("config", "--config", "bad.toml")
    assert done.code == 2
    assert complaint in done.complaint
