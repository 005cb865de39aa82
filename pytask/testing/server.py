"""A Redis for tests that comes with them and goes with them."""

from __future__ import annotations

from typing import Any, Self

from pytask.connection import connect


class EmbeddedServer:
    """An embedded server, or one that runs already; a context manager.

    Args:
        address: URL of a single server; ``local://`` starts one that keeps its data in memory.

    Raises:
        ConfigurationError: The extra ``embedded`` is not installed, or the address cannot be used.
    """

    def __init__(self, address: str = "local://") -> None:
        self._connector = connect(address)
        #: What to hand to ``PyTask`` in this process.
        self.address = address
        #: What other processes connect to.
        self.url = str(self._connector.url)

    @property
    def client(self) -> Any:
        """A redis-py client, for a look at what is stored."""
        return self._connector.user_client

    def close(self) -> None:
        """End the server, if it was started here."""
        self._connector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
