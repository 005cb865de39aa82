#!lua flags=allow-oom
-- agree_partitions: the first to come decides
-- Store the number of partitions at the first use of the data, and tell every later comer.
--
-- KEYS[1] number of partitions (string)
-- ARGV[1] the number the caller is configured with
--
-- Returns the number in force
--
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'string')
if wrong then return wrong end
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
