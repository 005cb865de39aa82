#!lua flags=allow-oom
-- requeue: RUNNING -> WAIT
-- Give runs back, to be taken next by any worker; only the owner of a run may.
--
-- A task that was told to stop meanwhile is STOPPED instead, and a local task, bound to the worker
-- that goes, is removed.
--
-- KEYS[1] tasks (set)  KEYS[2] leases (zset)  KEYS[3] default new queue (list)
-- KEYS[4 ..] record (hash) of each run
-- ARGV[1] prefix of channels, then id, token, for each run
--
-- Returns a list with a code for each run:
--          1 waiting again, or stopped
--          3 removed, it was local
--          2 given back by this run before
--          0 no such task
--         -1 not RUNNING
--         -2 another run owns it
--         -3 the record's key holds another type
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "check_token"
--- @include "queue_key"
--- @include "publish_event"

local wrong = wrong_type(KEYS[1], 'set', KEYS[2], 'zset', KEYS[3], 'list')
if wrong then return wrong end

-- Not the bare token: a finish by the same run must not take this for its own repeat.
local function mark(token)
  return token .. '/requeue'
end

local codes, records, queues, seen = {}, {}, {}, {}
for i = 1, #KEYS - 3 do
  local record = read_record(KEYS[3 + i], 'state', 'run', 'done_run', 'queue', 'control', 'local')
  local token = ARGV[2 * i + 1]
  codes[i] = record and check_token(record[1], record[2], record[3], token, mark(token)) or -3
  if codes[i] == 1 then
    if seen[token] then codes[i] = 2 end
    seen[token] = true
    records[i] = record
    queues[i] = queue_key(KEYS[3], record[4])
    wrong = wrong or wrong_type(queues[i], 'list')
  end
end
if wrong then return wrong end

local at = stamp(now())
for i = 1, #codes do
  if codes[i] == 1 then
    local id, token, key, record = ARGV[2 * i], ARGV[2 * i + 1], KEYS[3 + i], records[i]
    redis.call('ZREM', KEYS[2], id)
    if record[6] == 'true' then
      redis.call('DEL', key)
      redis.call('SREM', KEYS[1], id)
      codes[i] = 3
    elseif record[5] == 'stop' then
      redis.call('HSET', key, 'state', 'STOPPED', 'ended', at, 'done_run', mark(token))
      redis.call('HDEL', key, 'run', 'worker', 'control')
      publish_event(ARGV[1], id, 'stopped', 'null')
    else
      redis.call('HSET', key, 'state', 'WAIT', 'last_update', at, 'done_run', mark(token))
      redis.call('HDEL', key, 'run', 'worker', 'control', 'started')
      redis.call('SREM', KEYS[1], id)
      redis.call('RPUSH', queues[i], id)
      publish_event(ARGV[1], id, 'requeued', 'null')
    end
  end
end
return codes
