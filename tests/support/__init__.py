"""What tests stand on: servers, clusters, a switchable proxy, worker processes.

Everything here starts real processes on free loopback ports. A process started
through :mod:`tests.support.process` dies with the test run, however that ends.
"""
