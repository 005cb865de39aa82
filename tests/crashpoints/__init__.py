"""Crash points: processes that kill themselves before or after one of their calls to Redis.

A point is a place of the program and what it asks of Redis: ``worker.claimer: claim``. A recorded
run finds the points that are met; then processes die at each of them, before the request is sent
and after its reply arrived, while others of their kind work on. Afterwards every confirmed task
must have ended once, and nothing may be left behind.

    python -m tests.crashpoints --kills 20
"""
