"""Workers as real processes."""

from pathlib import Path

import pytest

from tests.support.launch import helpers, launch

__all__ = ["helpers", "launch"]  # fixtures


@pytest.fixture(scope="session")
def program() -> str:
    """What ``launch`` starts."""
    return str(Path(__file__).with_name("program.py"))
