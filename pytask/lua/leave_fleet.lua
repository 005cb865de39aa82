#!lua flags=allow-oom
-- leave_fleet: a worker says that it is gone
-- Mark the worker as dead at once instead of letting it fall silent. Its entry stays until a Monitor
-- has looked after what may still arrive in its claim lists.
--
-- KEYS[1] workers (zset)
-- ARGV[1] worker  ARGV[2] channel of the fleet
--
-- Returns 1 if it was registered, 0 if not
--
--- @include "key_types"
--- @include "publish_worker"

local wrong = wrong_type(KEYS[1], 'zset')
if wrong then return wrong end
local beat = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not beat then return 0 end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
if tonumber(beat) ~= 0 then publish_worker(ARGV[2], 'down', ARGV[1]) end
return 1
