"""Chaos: real processes, injected faults, a complete history, and a checker that reads it.

``python -m tests.chaos --help`` runs it; every run prints the seed that replays its fault schedule.
"""
