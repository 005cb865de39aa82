"""The tasks that run code they are given."""

from pathlib import Path

import pytest

from pytask.tasks import ExecutePython, ExecutePythonScript
from tests.worker.conftest import Serve, app, serve

__all__ = ["app", "serve"]  # fixtures

pytestmark = pytest.mark.topologies("valkey")


def test_they_are_off_unless_they_are_added(serve: Serve) -> None:
    worker = serve()
    state, output = worker.run_task("execute.python", code="result = 1")
    assert state == "EXCEPTION" and "no task class is named 'execute.python'" in output


def test_code_runs_in_a_child_and_leaves_its_result(serve: Serve) -> None:
    worker = serve(ExecutePython, process_pool_size=1)
    code = "import os\nresult = [a + b, os.getppid(), task.id]"
    state, output = worker.run_task("execute.python", code=code, arguments={"a": 1, "b": 2})
    assert state == "SUCCESS" and output[0] == 3
    state, output = worker.run_task("execute.python", code="1/0")
    assert state == "EXCEPTION" and output.endswith("ZeroDivisionError: division by zero")
    state, output = worker.run_task("execute.python", code="import os; os._exit(7)")
    assert state == "EXCEPTION" and "exit code 7" in output


def test_a_script_runs_with_its_arguments(serve: Serve, tmp_path: Path) -> None:
    worker = serve(ExecutePythonScript)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nsys.stdout.write(f'{sys.argv[1:]} {os.environ[\"WHO\"]}')\n"
        "sys.exit('bad' if 'fail' in sys.argv else 0)\n"
    )
    data = {"path": str(script), "env": {"WHO": "me"}}
    state, output = worker.run_task("execute.python.script", **data, args=["a b", 1])
    assert (state, output) == ("SUCCESS", {"out": "['a b', '1'] me", "err": ""})
    state, output = worker.run_task("execute.python.script", **data, args=["fail"])
    assert state == "ERROR" and "ended with code 1; it said: bad" in output
    state, output = worker.run_task("execute.python.script", path="/nowhere.py")
    assert (state, output) == ("ERROR", "there is no script /nowhere.py")
