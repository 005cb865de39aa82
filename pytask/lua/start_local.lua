#!lua flags=allow-oom
-- start_local: (none) -> RUNNING
-- Create a task that is bound to one worker and owned by it at once; no queue is involved.
--
-- Allowed even when Redis is full: Cleanup, which makes room again, is started this way.
--
-- KEYS[1] record (hash)  KEYS[2] tasks (set)  KEYS[3] leases (zset)
-- ARGV[1] id  ARGV[2] token  ARGV[3] task  ARGV[4] data (JSON)  ARGV[5] worker
--
-- Returns  1 created
--          2 created by this very request before
--         -4 a task of that ID exists
--
--- @include "clock"
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'set', KEYS[3], 'zset')
if wrong then return wrong end
if redis.call('HGET', KEYS[1], 'run') == ARGV[2] then return 2 end
if redis.call('EXISTS', KEYS[1]) == 1 then return -4 end

local at = stamp(now())
redis.call('HSET', KEYS[1], 'task', ARGV[3], 'data', ARGV[4], 'state', 'RUNNING', 'local', 'true',
  'run', ARGV[2], 'worker', ARGV[5], 'attempts', '1', 'created', at, 'started', at,
  'last_update', at)
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], at, ARGV[1])
return 1
