"""Mutants of limits and locks: the scripts of permits, and the call from the delayed set."""

from __future__ import annotations

from .mutants_of_owners import Row

_TYPES = "if wrong then return wrong end\n"

PERMIT_MUTANTS: list[Row] = [
    # acquire_permits
    ("acquire_permits", "types of keys", "acquire_permits.lua", _TYPES, ""),
    (
        "acquire_permits",
        "limit",
        "acquire_permits.lua",
        "granted = redis.call('ZCARD', permits) < tonumber(limit)",
        "granted = true",
    ),
    (
        "acquire_permits",
        "limit, by one",
        "acquire_permits.lua",
        "redis.call('ZCARD', permits) < tonumber(limit)",
        "redis.call('ZCARD', permits) <= tonumber(limit)",
    ),
    (
        "acquire_permits",
        "own permit is not known again",
        "acquire_permits.lua",
        "local granted = redis.call('ZSCORE', permits, holder)",
        "local granted = false",
    ),
    (
        "acquire_permits",
        "permit that was handed over is kept beside the one fetched",
        "acquire_permits.lua",
        "    redis.call('ZREM', permits, ' ' .. id)\n",
        "",
    ),
    (
        "acquire_permits",
        "newcomers first",
        "acquire_permits.lua",
        "  call_waiting(KEYS[i], KEYS[i + 1], time, call_seconds, called)\n",
        "",
    ),
    (
        "acquire_permits",
        "dead holders stay",
        "acquire_permits.lua",
        "  drop_expired(KEYS[i], time)\n",
        "",
    ),
    (
        "acquire_permits",
        "fence stays",
        "acquire_permits.lua",
        "    fence = fence + 1\n",
        "",
    ),
    (
        "acquire_permits",
        "fence is the clock alone",
        "acquire_permits.lua",
        "math.max(last, math.floor(time * 1000000))",
        "math.floor(time * 1000000)",
    ),
    (
        "acquire_permits",
        "fence is the counter alone",
        "acquire_permits.lua",
        "math.max(last, math.floor(time * 1000000))",
        "last",
    ),
    # renew_permits
    ("renew_permits", "types of keys", "renew_permits.lua", _TYPES, ""),
    (
        "renew_permits",
        "what is lost is taken again",
        "renew_permits.lua",
        "if redis.call('ZSCORE', permits, holder) then",
        "if true then",
    ),
    (
        "renew_permits",
        "pool vanishes before its holders",
        "renew_permits.lua",
        "for i = 1, #KEYS do keep_until_last(KEYS[i]) end\n",
        "",
    ),
    # release_permits
    ("release_permits", "types of keys", "release_permits.lua", _TYPES, ""),
    (
        "release_permits",
        "dead holders stay",
        "release_permits.lua",
        "  drop_expired(KEYS[i], time)\n",
        "",
    ),
    (
        "release_permits",
        "who waits loses the place",
        "release_permits.lua",
        "redis.call('ZADD', waiting, 'NX',",
        "redis.call('ZADD', waiting,",
    ),
    (
        "release_permits",
        "limit of who waits",
        "include/permits.lua",
        "    elseif held < tonumber(limit) then\n",
        "    else\n",
    ),
    (
        "release_permits",
        "what was handed over is not counted",
        "include/permits.lua",
        "      held = held + redis.call('ZADD'",
        "      redis.call('ZADD'",
    ),
    (
        "release_permits",
        "who was called is called again",
        "include/permits.lua",
        "      redis.call('ZREM', waiting, entry)\n      held = held + redis.call('ZADD'",
        "      redis.call('ZADD'",
    ),
    # promote, when it is called
    (
        "promote",
        "what waits for another reason is called",
        "promote.lua",
        "if held_until and (not record or tonumber(record[5]) ~= held_until) then",
        "if false then",
    ),
    (
        "promote",
        "called although it is not there",
        "promote.lua",
        "if delayed_until and plan(",
        "if plan(",
    ),
]
