#!lua flags=allow-oom
-- leave_fleet: a worker says that it is gone
-- Mark the worker as dead at once instead of letting it fall silent. Its entry stays until a Monitor
-- has looked after what may still arrive in its claim lists.
--
-- KEYS[1] workers (zset)
-- ARGV[1] worker
--
-- Returns 1 if it was registered, 0 if not
--
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'zset')
if wrong then return wrong end
redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[1])
return redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
