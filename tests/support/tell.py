"""How a program under test reports to the test: one JSON line per event.

Standard library only, so that it may be imported before monkey-patching.
"""

import json
import os
from typing import Any

MARK = "@@tell "


def tell(event: str, **values: Any) -> None:
    """Report an event in one unbuffered write that no other output can split.

    Args:
        event: Its name, awaited with ``WorkerProcess.wait_for_event``.
        values: What JSON can carry.
    """
    os.write(1, f"{MARK}{json.dumps({'event': event, **values})}\n".encode())
