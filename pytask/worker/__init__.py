"""The worker: services that claim tasks, run them, keep their leases and report how they ended.

Each service is a small class with ``start``, ``stop``, ``join`` and ``run_once``; it gets what it
works with as constructor arguments. :mod:`~pytask.worker.supervisor` starts and stops them, in
an order that is written down there. The life of one run::

    claimer   takes task IDs off the queues, as many as there are free slots
    runner    gives each its greenlet, carries out stop and reload, decides how it ended
    finisher  reports outcomes to Redis in batches, then frees the slots

    heartbeat keeps the leases meanwhile, from a native thread
    control   hears stop and reload at once; what it misses comes with the next heartbeat
    guard     stops everything when Redis cannot be reached for too long
    promoter  moves delayed tasks that are due to their queue

Redis decides who owns a task. What a worker believes of its own leases only ever makes it stop
earlier.
"""
