"""This project beside the queues a user would pick instead: ``python -m benchmarks.peers``.

apps/         the same three tasks in each system, and its client; run in its environment
driver.py     the client side of a measurement; run there as well
systems.py    how each is installed, started and counted, and the settings chosen for it
venvs.py      the environments
stage.py      one server, worker processes and drivers, and what the kernel knows of them
workloads.py  what is measured
run.py        rounds, interleaved
page.py       docs/performance, from the JSON that a run leaves
"""
