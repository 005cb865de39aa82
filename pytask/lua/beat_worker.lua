#!lua flags=allow-oom
-- beat_worker: a worker says that it lives
-- Enter the worker in the registry with the server's time, and what it says of itself.
--
-- KEYS[1] workers (zset)  KEYS[2] worker (hash)
-- ARGV[1] worker  ARGV[2] channel of the fleet, then field, value, …
--
-- Returns 1
--
--- @include "clock"
--- @include "key_types"
--- @include "publish_worker"

local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash')
if wrong then return wrong end
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
redis.call('ZADD', KEYS[1], stamp(now()), ARGV[1])
if #ARGV > 3 then redis.call('HSET', KEYS[2], unpack(ARGV, 3)) end
if known == 0 then publish_worker(ARGV[2], 'up', ARGV[1]) end
return 1
