"""``python -m pytask`` is the same as ``pytask``."""

from pytask.cli import main

if __name__ == "__main__":
    main()
