"""The machine bites: scripts with one guard removed do not survive it.

Each mutant needs histories of its own, minutes in all, so they run when asked for::

    PYTASK_MUTANTS=1 python -m pytest tests/statemachine/test_mutants.py -rP
"""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import Phase
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import run_state_machine_as_test

from pytask.scripts import list_names, load

from .test_store import machine_for, profile

#: Histories after which a mutant counts as not found. Most are found within a hundred; to see that
#: the scripts as they are pass so many: ``PYTASK_SEED=1 PYTASK_HISTORIES=2000``.
PATIENCE = 2_000

#: What is broken, in which script (all that contain it if none is named), and how.
MUTANTS: dict[str, tuple[str | None, str, str]] = {
    "the token of the owner is not compared": (
        None,
        "if run == token then",
        "if run then",
    ),
    "a finished run does not know its repeat": (
        None,
        "if done_run == mark then return 2 end",
        "",
    ),
    "a requeue takes a finish for its own repeat": (
        "finish",
        "check_token(record[1], record[2], record[3], token, token)",
        "check_token(record[1], record[2], record[3], token, token .. '/requeue')",
    ),
    "claim forgets its last answer": (
        "claim",
        "if readable and type(decoded) == 'table' and decoded[1] == request then",
        "if false then",
    ),
    "claim serves a paused queue": (
        "claim",
        "if is_paused[queue] then",
        "if false then",
    ),
    "flush takes a running task": (
        "flush",
        "elseif state == 'WAIT' or state == 'RETRY' or (state == '' and record[2]) then",
        "else",
    ),
    "claim answers again with runs that were lost": (
        "claim",
        "record[5] == 'RUNNING' and record[1] == token_of(attempts, i - 1)",
        "true",
    ),
    "claim starts what was stopped": (
        "claim",
        "if not is_unqueued(unqueued[id], queue) then return false end",
        "do return false end",
    ),
    "claim takes a duplicate": (
        "claim",
        "record[1] ~= 'RETRY' and\n      record[1] ~= 'STOPPED' then",
        "record[1] ~= 'RETRY' and record[1] ~= 'RUNNING' and\n      record[1] ~= 'STOPPED' then",
    ),
    "claim starts what has expired": (
        "claim",
        "(tonumber(record[6]) or math.huge) <= time",
        "false",
    ),
    "claim drops an ID whose record is still to come": (
        "claim",
        "if first_seen and time - first_seen >= grace then return false end",
        "do return false end",
    ),
    "claim adds no lease": ("claim", "redis.call('ZADD', KEYS[3], unpack(leases))", ""),
    "enqueue does not know its repeat": (
        "enqueue",
        "elseif old[3] == request then",
        "elseif false then",
    ),
    "enqueue starts a running task afresh": ("enqueue", "or old[1] == 'RUNNING' or", "or"),
    "enqueue takes an ID twice in a batch": (
        "enqueue",
        "elseif seen[id] then",
        "elseif false then",
    ),
    "enqueue forgets what a stop left behind": (
        "enqueue",
        "if unqueue then write_unqueue(key, unqueue) end",
        "",
    ),
    "stop leaves its entry behind unmarked": (
        "stop",
        "write_unqueue(KEYS[1], (record[3] and record[3] .. ' ' or '') .. queue)",
        "",
    ),
    "stop leaves the delayed entry": (
        "stop",
        "redis.call('ZREM', KEYS[3], ARGV[1]) == 0",
        "not redis.call('ZSCORE', KEYS[3], ARGV[1])",
    ),
    "a retry ignores a stop": (
        "finish",
        "if state == 'RETRY' and record[6] == 'stop' then state = 'STOPPED' end",
        "",
    ),
    "finish keeps the lease": ("finish", "redis.call('ZREM', KEYS[2], unpack(released))", ""),
    "finish queues an end twice": ("finish", "if record[5] ~= '1' then", "if true then"),
    "requeue ignores a stop": ("requeue", "elseif record[5] == 'stop' then", "elseif false then"),
    "requeue keeps local tasks": ("requeue", "if record[6] == 'true' then", "if false then"),
    "reap does not look at the age": (
        "reap",
        "if age <= task_timeout and not (dead[record[3] or ''] and age > worker_timeout) then",
        "if false then",
    ),
    "reap takes every worker for dead": ("reap", "(dead[record[3] or ''] and", "(any_dead and"),
    "reap never gives up": ("reap", "if item.reaps and item.reaps >= max_reaps", "if false"),
    "reap condemns whoever started first": (
        "reap",
        "return item.started >= other.started",
        "return item.started < other.started",
    ),
    "reap condemns all that ran there": ("reap", "max_reaps <= 1 and i or", "true and i or"),
    "reap ignores a stop": ("reap", "elseif record[8] ~= 'stop' then", "elseif true then"),
    "restart does not know its repeat": (
        "restart",
        "if record[2] == ARGV[2] then return 2 end",
        "",
    ),
    "restart starts a running task": (
        "restart",
        "or state == 'RUNNING' then return -4 end",
        "then return -4 end",
    ),
    "restart keeps the dead letter": ("restart", "redis.call('ZREM', KEYS[4], ARGV[1])", ""),
    "remove takes running tasks": (
        "remove",
        "if state == 'RUNNING' and ARGV[2] ~= '1' then return -1 end",
        "",
    ),
    "remove leaves entries behind": ("remove", "redis.call('LREM', list, 0, ARGV[1])", ""),
    "promote promotes what was stopped": (
        "promote",
        "(state == '' or state == 'WAIT' or state == 'RETRY')",
        "true",
    ),
    "acknowledge forgets a task that was restarted": (
        "acknowledge_ended",
        "elseif (record[2] or '') == ARGV[2 * i + 1] and ended[record[1]] then",
        "elseif true then",
    ),
    "acknowledge forgets an end it has not seen": (
        "acknowledge_ended",
        "(record[2] or '') == ARGV[2 * i + 1] and",
        "",
    ),
    "forget_failed forgets what was restarted": (
        "forget_failed",
        "if record and failed[record[1] or ''] then",
        "if record then",
    ),
    "give_back loses what Cleanup held": (
        "give_back",
        "for _, id in ipairs(ends) do redis.call('RPUSH', KEYS[3], id) end",
        "",
    ),
    "give_back queues an end twice": (
        "give_back",
        "if not redis.call('LPOS', KEYS[3], id) then",
        "if true then",
    ),
    "sweep leaves a run without a lease": (
        "sweep",
        "if not redis.call('ZSCORE', KEYS[2], id) then",
        "if false then",
    ),
    "adopt doubles what waits": (
        "adopt",
        "or redis.call('LPOS', queue, id) then return -1 end",
        "then return -1 end",
    ),
    "schedule_tick starts what somebody else has started": (
        "schedule_tick",
        "if due ~= expected then return",
        "if not due then return",
    ),
    "schedule_tick starts what is not due": ("schedule_tick", "if time < readable", "if false"),
    "a limit is exceeded by one": (
        "acquire_permits",
        "redis.call('ZCARD', permits) < tonumber(limit)",
        "redis.call('ZCARD', permits) <= tonumber(limit)",
    ),
    "who comes overtakes who waits": (
        "acquire_permits",
        "  call_waiting(KEYS[i], KEYS[i + 1], time, call_seconds, called)\n",
        "",
    ),
    "a lost permit is renewed": (
        "renew_permits",
        "if redis.call('ZSCORE', permits, holder) then",
        "if true then",
    ),
    "a held back run counts an attempt": (
        "requeue",
        "(tonumber(record[7]) or 1) - 1",
        "(tonumber(record[7]) or 1)",
    ),
    "what waits for another reason is called": (
        "promote",
        "if held_until and (not record or tonumber(record[5]) ~= held_until) then",
        "if false then",
    ),
    "start_local takes over what there is": (
        "start_local",
        "if redis.call('EXISTS', KEYS[1]) == 1 then return -4 end",
        "",
    ),
    "a lost run refreshes the lease of its successor": (
        "heartbeat",
        "if code == 1 then\n    table.insert(owned",
        "if code == 1 or code == -2 then\n    table.insert(owned",
    ),
    "take_ended forgets that an end stands in the queue": (
        "take_ended",
        "if not popped[id] and not redis.call('LPOS', KEYS[1], id) then",
        "if true then",
    ),
}


@pytest.mark.skipif(not os.environ.get("PYTASK_MUTANTS"), reason="PYTASK_MUTANTS=1 runs these")
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.topologies("valkey")
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_script_without_this_guard_is_found(mutant, connector, keys, settings):
    script, old, new = MUTANTS[mutant]
    machine = machine_for(connector.link(), keys, settings, 1)
    scripts = [load(name) for name in ([script] if script else list_names())]
    machine.site.link.mutate(scripts, old, new)
    began = time.monotonic()

    # Flaky: what depends on the clock need not show itself twice.
    with pytest.raises((AssertionError, FlakyFailure)):
        run_state_machine_as_test(machine, settings=profile(PATIENCE, phases=[Phase.generate]))

    histories, seconds = machine.counts["history"], time.monotonic() - began
    print(f"{mutant}: found in history {histories}, after {seconds:.1f} s")  # noqa: T201
