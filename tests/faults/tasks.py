"""Tasks that misbehave, beside those of :mod:`tests.acceptance.program`."""

from pytask import Task
from tests.support.tell import tell


class Echo(Task):
    """Returns what it was given and tells of it."""

    NAME = "echo"

    def __init__(self, value: object = None) -> None:
        self.value = value

    def start(self) -> object:
        tell("echo", id=self.id, attempt=self.attempt)
        return self.value
