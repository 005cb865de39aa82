"""Huey's consumer with greenlets: ``python -m huey_greenlets CONCURRENCY``.

Its documentation asks for the patch to come first, in a start script like this one.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from huey.bin.huey_consumer import consumer_main  # noqa: E402

if __name__ == "__main__":
    options = ["-k", "greenlet", "-w", sys.argv[1], "-q", "-n", "-g", "TERM"]
    sys.argv = ["huey_consumer", "huey_app.huey", *options]
    consumer_main()
