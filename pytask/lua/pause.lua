#!lua flags=allow-oom
-- pause: hold a queue back
-- Name a queue among the paused ones. Its tasks stay where they are and are not claimed; what runs
-- goes on, what is delayed still becomes due and joins it.
--
-- KEYS[1] paused (set)
-- ARGV[1] queue
--
-- Returns  1 paused
--          2 paused before
--
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'set')
if wrong then return wrong end
return redis.call('SADD', KEYS[1], ARGV[1]) == 1 and 1 or 2
