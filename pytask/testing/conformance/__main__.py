"""``python -m pytask.testing.conformance URL [PYTEST OPTIONS]``."""

from __future__ import annotations

import sys

import pytest

if __name__ == "__main__":
    if len(sys.argv) < 2 or "://" not in sys.argv[1]:
        sys.exit("usage: python -m pytask.testing.conformance URL [PYTEST OPTIONS]")
    package = "pytask.testing.conformance"
    # Only what the caller adds: settings of a project around do not belong to these tests.
    alone = ["-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider"]
    named = ["-p", package, "--backend-url", sys.argv[1], "--pyargs", f"{package}.test_backend"]
    sys.exit(pytest.main([*alone, *named, *sys.argv[2:]]))
