#!lua flags=allow-oom
-- forget_worker: a dead worker -> (none)
-- Drop a worker from the registry, unless it has shown a sign of life since.
--
-- KEYS[1] workers (zset)  KEYS[2] worker (hash)
-- ARGV[1] worker  ARGV[2] worker time-out in seconds  ARGV[3] channel of the fleet
--
-- Returns  1 dropped
--          0 not registered
--         -5 it lives
--
--- @include "clock"
--- @include "key_types"
--- @include "publish_worker"

local wrong = wrong_type(KEYS[1], 'zset')
if wrong then return wrong end
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if beat and now() - tonumber(beat) <= tonumber(ARGV[2]) then return -5 end
redis.call('DEL', KEYS[2])
-- One that left has said so itself.
if beat and tonumber(beat) ~= 0 then publish_worker(ARGV[3], 'down', ARGV[1]) end
return redis.call('ZREM', KEYS[1], ARGV[1])
