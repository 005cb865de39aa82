"""Mutants of what clients and people call: enqueue, stop, reload, restart, remove."""

from __future__ import annotations

from .mutants_of_owners import Row

_TYPES = "if wrong then return wrong end\n"

CLIENT_MUTANTS: list[Row] = [
    # enqueue
    ("enqueue", "types of keys", "enqueue.lua", _TYPES, ""),
    (
        "enqueue",
        "request is not remembered",
        "enqueue.lua",
        "  elseif old[3] == request then\n",
        "  elseif false then\n",
    ),
    (
        "enqueue",
        "waiting and running start afresh",
        "enqueue.lua",
        "  elseif old[1] == 'WAIT' or old[1] == 'RETRY' or old[1] == 'RUNNING' or\n",
        "  elseif old[1] == 'RETRY' or\n",
    ),
    (
        "enqueue",
        "same ID twice in a batch",
        "enqueue.lua",
        "  elseif seen[id] then\n    codes[i] = -4\n",
        "",
    ),
    (
        "enqueue",
        "old record shines through",
        "enqueue.lua",
        "      redis.call('DEL', key)\n",
        "",
    ),
    (
        "enqueue",
        "stays in the task set",
        "enqueue.lua",
        "      redis.call('SREM', KEYS[1], id)\n",
        "",
    ),
    (
        "enqueue",
        "stays among the failed",
        "enqueue.lua",
        "      redis.call('ZREM', KEYS[3], id)\n",
        "",
    ),
    (
        "enqueue",
        "void entry is pushed once more",
        "enqueue.lua",
        "    elseif is_unqueued(unqueue, name) then\n",
        "    elseif false then\n",
    ),
    (
        "enqueue",
        "void entries are forgotten",
        "enqueue.lua",
        "    if unqueue then write_unqueue(key, unqueue) end\n",
        "",
    ),
    (
        "enqueue",
        "end entry is forgotten",
        "enqueue.lua",
        "    if old[6] == '1' then redis.call('HSET', key, 'end_entry', '1') end\n",
        "",
    ),
    # start_local
    (
        "start_local",
        "repeat is not recognised",
        "start_local.lua",
        "if redis.call('HGET', KEYS[1], 'run') == ARGV[2] then return 2 end\n",
        "",
    ),
    (
        "start_local",
        "an existing task is overwritten",
        "start_local.lua",
        "if redis.call('EXISTS', KEYS[1]) == 1 then return -4 end\n",
        "",
    ),
    # stop, reload, restart, remove
    ("stop", "types of keys", "stop.lua", _TYPES, ""),
    (
        "stop",
        "ended is stopped",
        "stop.lua",
        "if state and state ~= '' and state ~= 'WAIT' and state ~= 'RETRY' then return -1 end\n",
        "",
    ),
    (
        "stop",
        "running is made STOPPED",
        "stop.lua",
        "if state == 'RUNNING' then\n",
        "if false then\n",
    ),
    (
        "stop",
        "repeat is not recognised",
        "stop.lua",
        "if state == 'STOPPED' then return 2 end\n",
        "",
    ),
    (
        "stop",
        "its entry in the queue stays valid",
        "stop.lua",
        "  write_unqueue(KEYS[1], (record[3] and record[3] .. ' ' or '') .. queue)\n",
        "",
    ),
    (
        "stop",
        "is not written down",
        "stop.lua",
        "  redis.call('HSET', KEYS[1], 'control', 'stop')\n",
        "",
    ),
    (
        "reload",
        "state is not looked at",
        "reload.lua",
        "if record[1] ~= 'RUNNING' then return -1 end\n",
        "",
    ),
    (
        "reload",
        "wins over a stop",
        "reload.lua",
        "if record[2] ~= 'stop' then\n",
        "if true then\n",
    ),
    (
        "restart",
        "request is not remembered",
        "restart.lua",
        "if record[2] == ARGV[2] then return 2 end\n",
        "",
    ),
    (
        "restart",
        "allowed states are not looked at",
        "restart.lua",
        "if not allowed then return -1 end\n",
        "",
    ),
    (
        "restart",
        "waiting and running are restarted",
        "restart.lua",
        "if state == '' or state == 'WAIT' or state == 'RETRY' or state == 'RUNNING' then return",
        "if false then return",
    ),
    (
        "restart",
        "void entry is pushed once more",
        "restart.lua",
        "if is_unqueued(record[4], queue_name(record[3])) then\n",
        "if false then\n",
    ),
    (
        "restart",
        "stays in the task set",
        "restart.lua",
        "redis.call('SREM', KEYS[2], ARGV[1])\n",
        "",
    ),
    (
        "remove",
        "running without force",
        "remove.lua",
        "if state == 'RUNNING' and ARGV[2] ~= '1' then return -1 end\n",
        "",
    ),
    (
        "remove",
        "lease stays",
        "remove.lua",
        "for i = 3, 5 do redis.call('ZREM', KEYS[i], ARGV[1]) end\n",
        "",
    ),
    (
        "remove",
        "its entry in the queue stays",
        "remove.lua",
        "for _, list in ipairs(lists) do redis.call('LREM', list, 0, ARGV[1]) end\n",
        "",
    ),
    (
        "remove",
        "its entry in the end queue stays",
        "remove.lua",
        "if record[4] == '1' then redis.call('LREM', KEYS[7], 0, ARGV[1]) end\n",
        "",
    ),
]
