"""The page of the faults and the tests of this directory name each other."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs" / "reliability" / "faults.md").read_text()
ROWS = {int(number): row for number, row in re.findall(r"^\| F(\d+) (\|.*)$", PAGE, re.MULTILINE)}


def test_there_is_a_row_for_each_fault_in_order() -> None:
    assert list(ROWS) == list(range(1, 51))


@pytest.mark.parametrize("number", ROWS)
def test_a_row_names_the_files_whose_tests_show_the_fault(number: int) -> None:
    named = re.findall(r"`(test\w+\.py|tests/[\w/]+\.py)`", ROWS[number])
    own = {
        path.name
        for path in HERE.glob("test_*.py")
        if f"\ndef test_f{number:02}_" in path.read_text()
    }
    assert own == {name for name in named if "/" not in name}
    assert own or named
    assert all((ROOT / name).exists() for name in named if "/" in name)
