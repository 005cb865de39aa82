#!lua flags=allow-oom
-- beat_worker: a worker says that it lives
-- Enter the worker in the registry with the server's time, and what it says of itself.
--
-- KEYS[1] workers (zset)  KEYS[2] worker (hash)
-- ARGV[1] worker, then field, value, …
--
-- Returns 1
--
--- @include "clock"
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash')
if wrong then return wrong end
redis.call('ZADD', KEYS[1], stamp(now()), ARGV[1])
if #ARGV > 2 then redis.call('HSET', KEYS[2], unpack(ARGV, 2)) end
return 1
