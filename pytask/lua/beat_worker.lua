#!lua flags=allow-oom
-- beat_worker: a worker says that it lives
-- Enter the worker in the registry with the server's time, and what it says of itself if that is new.
--
-- KEYS[1] workers (zset)  KEYS[2] worker (hash)
-- ARGV[1] worker  ARGV[2] channel of the fleet
-- ARGV[3] '1' if it has nothing new to say, else '' and field, value, …
--
-- Returns  1 registered
--          0 it was not registered any more: it is again, and has to say everything anew
--
--- @include "clock"
--- @include "key_types"
--- @include "publish_worker"

-- Every worker does this all the time, mostly with nothing new to say.
local is_brief = ARGV[3] == '1'
if is_brief and redis.pcall('ZADD', KEYS[1], 'XX', 'CH', stamp(now()), ARGV[1]) == 1 then return 1 end

local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash')
if wrong then return wrong end
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
redis.call('ZADD', KEYS[1], stamp(now()), ARGV[1])
if #ARGV > 4 then redis.call('HSET', KEYS[2], unpack(ARGV, 4)) end
if known == 0 then publish_worker(ARGV[2], 'up', ARGV[1]) end
return is_brief and 0 or 1
