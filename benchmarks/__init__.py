"""Measurements of what pytask promises: ``python -m benchmarks [NAME ...] [--json FILE]``.

Each module measures one thing, on real servers and in worker processes of their own, several times
over; the median is the result and the extremes are shown beside it. Targets are printed, never
enforced: how fast a machine is says nothing about whether a change is right.

    harness.py   servers, worker processes, what the kernel knows of them
    worker.py    the worker that is measured
    report.py    the table and the JSON
    peers/       beside other task queues: ``python -m benchmarks.peers``
    scaling/     up to a million tasks: ``python -m benchmarks.scaling``
    plot.py      pictures for both, and markdown.py their tables
"""
