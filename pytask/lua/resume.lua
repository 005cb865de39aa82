#!lua flags=allow-oom
-- resume: hold a queue back no longer
-- Take a queue off the paused ones, and wake the workers: none of them blocks on a paused queue.
--
-- KEYS[1] paused (set)
-- ARGV[1] queue  ARGV[2] channel that wakes workers  ARGV[3] number of the partition
--
-- Returns  1 resumed
--          2 it was not paused
--
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'set')
if wrong then return wrong end
local was_paused = redis.call('SREM', KEYS[1], ARGV[1]) == 1
-- Also by a repeat: the message of the first call may have been lost with its reply.
redis.pcall('PUBLISH', ARGV[2], ARGV[3])
return was_paused and 1 or 2
