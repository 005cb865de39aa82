"""Mutants of what is about results that are kept: neither dropped early nor kept for ever."""

from __future__ import annotations

from .mutants_of_owners import Row

_EXPIRES = "      redis.call('PEXPIRE', KEYS[4 + i], ARGV[2], 'NX')\n"

RESULT_MUTANTS: list[Row] = [
    (
        "acknowledge_ended",
        "a result is not kept",
        "acknowledge_ended.lua",
        "    if states[i] == 'SUCCESS' and tonumber(ARGV[2]) > 0 then\n",
        "    if false then\n",
    ),
    (
        "acknowledge_ended",
        "a failure is kept no longer than a result",
        "acknowledge_ended.lua",
        "    if states[i] == 'SUCCESS' and tonumber(ARGV[2]) > 0 then\n",
        "    if tonumber(ARGV[2]) > 0 then\n",
    ),
    (
        "acknowledge_ended",
        "a result is kept for ever",
        "acknowledge_ended.lua",
        _EXPIRES,
        "",
    ),
    (
        "acknowledge_ended",
        "a repeat keeps a result longer",
        "acknowledge_ended.lua",
        _EXPIRES,
        _EXPIRES.replace(", 'NX'", ""),
    ),
    (
        "acknowledge_ended",
        "a kept result looks like an orphan",
        "acknowledge_ended.lua",
        "      redis.call('HSET', KEYS[4 + i], 'kept', '1')\n",
        "",
    ),
    (
        "acknowledge_ended",
        "a kept result stays with its Cleanup",
        "acknowledge_ended.lua",
        "'kept', '1')\n      redis.call('HDEL', KEYS[4 + i], 'end_claim')\n",
        "'kept', '1')\n",
    ),
    (
        "adopt",
        "a kept result is handled again",
        "adopt.lua",
        "if record[3] or record[6] or ",
        "if record[3] or ",
    ),
    (
        "restart",
        "a task is forgotten when its last result would have been",
        "restart.lua",
        "if record[6] then redis.call('PERSIST', KEYS[1]) end\n",
        "",
    ),
    (
        "restart",
        "counts as a kept result although it runs again",
        "restart.lua",
        "  'end_claim', 'retries', 'kept')\n",
        "  'end_claim', 'retries')\n",
    ),
]
