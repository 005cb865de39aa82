"""What ``pytask`` exports is what it lists, and every name of it can be imported."""

import inspect
import subprocess
import sys

import pytest

import pytask

NAMES = [name for name in pytask.__all__ if not name.startswith("__")]


def test_the_list_is_sorted_complete_and_without_doubles():
    assert sorted(set(pytask.__all__)) == sorted(pytask.__all__)
    assert {*pytask._EXPORTS, "__version__"} == set(pytask.__all__)
    assert set(pytask.__all__) <= set(dir(pytask))


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_can_be_imported(name):
    value = getattr(pytask, name)
    if name == "LOCAL":
        assert isinstance(value, str)
        return
    assert value.__name__ == name
    assert inspect.getdoc(value), f"{name} has no docstring"


def test_a_name_that_is_not_exported_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'pytask' has no attribute 'Nothing'"):
        _ = pytask.Nothing


def test_type_checkers_see_the_same_names():
    source = inspect.getsource(pytask)
    block = source.split("if TYPE_CHECKING:")[1].split("\n\n\n")[0]
    for name in NAMES:
        assert name in block, f"{name} is missing under TYPE_CHECKING"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("pytask", ["PyTask", "Task", "Monitor", "Cleanup"]),
        ("pytask.pytask", ["PyTask"]),
        ("pytask.task", ["Task"]),
        ("pytask.helpers", ["PyTaskHelpers", "run_loop"]),
        ("pytask.tasks", ["Monitor", "Cleanup"]),
    ],
)
def test_the_names_programs_already_use_stay_importable(module, names):
    program = f"from {module} import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_submodules_and_exported_names_do_not_hide_each_other():
    program = (
        "import pytask, pytask.pytask, pytask.task\n"
        "assert pytask.Task is pytask.task.Task\n"
        "assert pytask.PyTask is pytask.pytask.PyTask\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
