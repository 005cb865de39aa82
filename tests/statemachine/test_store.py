"""Histories of every verb, with lost requests and replies, on one server and on a cluster."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import StoreMachine
from .site import Site

IN_CI = bool(os.environ.get("CI"))
#: So many histories per topology.
HISTORIES = int(os.environ.get("PYTASK_HISTORIES", 500 if IN_CI else 60))
STEPS = 50
VERBS = (
    "enqueue", "claim", "pop", "give_back", "start_local", "heartbeat", "finish", "requeue", "stop",
    "reload", "restart", "remove", "reap", "promote", "take_ended", "pop_ended", "acknowledge",
    "return_ended", "forget_failed", "sweep", "adopt", "registry", "acquire_permits",
    "renew_permits", "release_permits",
)  # fmt: skip


def profile(histories: int = HISTORIES, **options: object) -> settings:
    """Return how the machine is run: no data base of examples, so that a seed tells everything."""
    return settings(
        max_examples=histories,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        # Shrinking one at a time is what a person can read; the next run shows the next.
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **options,  # type: ignore[arg-type]
    )


def machine_for(link: object, keys: object, options: object, number: int) -> type[StoreMachine]:
    """Make a machine whose histories happen in one namespace and follow from a seed."""

    class Machine(StoreMachine):
        site = Site(link, keys, options)  # type: ignore[arg-type]
        counts: dict[str, int] = {}  # noqa: RUF012  # set for each machine

    return seed(number)(Machine)


def choose_seed() -> int:
    """Return ``PYTASK_SEED``; otherwise 1 in CI, where a run must be repeatable, or any number."""
    default = 1 if IN_CI else random.SystemRandom().randrange(2**32)
    return int(os.environ.get("PYTASK_SEED", default))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.topologies("valkey", "cluster")
def test_every_history_of_the_store_is_one_of_the_model(connector, keys, settings, capsys):
    number = choose_seed()
    machine = machine_for(connector.link(), keys, settings, number)
    with capsys.disabled():
        print(f"\nPYTASK_SEED={number} repeats these {HISTORIES} histories")  # noqa: T201

    run_state_machine_as_test(machine, settings=profile())

    counts = machine.counts
    print(dict(sorted(counts.items())))  # noqa: T201
    assert counts["history"] >= HISTORIES
    # A run that exercised too little proves nothing; a short one may miss what is rare.
    for what in (*VERBS, "lost request or reply", "given up", "late", "writes of lost runs"):
        assert counts.get(what, 0) >= HISTORIES // 100, f"{what}: {counts.get(what)}"
