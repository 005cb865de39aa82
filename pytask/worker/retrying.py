"""Whether a run that failed is tried again, and when."""

from __future__ import annotations

import logging

from pytask.exceptions import UnfitTask
from pytask.policy import Policy
from pytask.states import State
from pytask.task import Retry
from pytask.worker.outcomes import ChildError
from pytask.worker.runs import Run

logger = logging.getLogger(__name__)


def policy_of(run: Run, policy: Policy) -> Policy:
    """Return what holds for a run: the policy of its class, and what was decided for it alone."""
    overrides = run.policy.partition(b" ")[2]
    return policy.with_overrides(overrides) if overrides else policy


def retries_of(run: Run) -> int:
    """Return how often the task of a run was tried again so far."""
    number = run.policy.partition(b" ")[0]
    return int(number) if number.isdigit() else 0


def _is_worth_it(error: BaseException, policy: Policy) -> bool:
    if isinstance(error, ChildError):
        return error.again
    return isinstance(error, (Retry, *policy.retry_on))


def next_try(run: Run, policy: Policy, error: BaseException, state: State) -> float | None:
    """Decide whether a run that failed is tried again.

    Args:
        run: The run.
        policy: Of its class.
        error: What it raised.
        state: What it ends in otherwise.

    Returns:
        The seconds until then, None if it is not.
    """
    if state not in (State.ERROR, State.EXCEPTION) or isinstance(error, UnfitTask):
        return None
    if run.is_local:
        return None  # what waits for its next try is anybody's, and this is ours alone
    policy = policy_of(run, policy)
    retries = retries_of(run)
    if retries >= policy.max_retries or not _is_worth_it(error, policy):
        return None
    if isinstance(error, Retry | ChildError) and error.delay is not None:
        return error.delay
    try:
        return policy.pause_after(retries)
    except Exception:
        logger.exception(
            "task %s (%s) is not tried again: its retry_delay failed", run.task_id, run.task
        )
        return None
