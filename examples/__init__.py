"""Programs to read and to run.

``worker.py`` and ``tasks.py`` are the smallest whole worker there is; ``linkcheck`` is a job of
thousands of tasks with a service beside it, and what ``make run`` runs.
"""
