#!lua flags=allow-oom
-- release_permits: held -> free; free -> handed to a task that waits
-- Give permits back, enter tasks among those who wait, and call those whose turn it is. With nothing
-- to give back and nobody to enter it is a look: what dead holders held is found free.
--
-- A task enters only once it is back in the delayed set: called before, it could not be found there.
--
-- KEYS[1 ..] for each pool: permits (zset), waiting (zset)
-- ARGV[1] seconds a task that is called has to come  ARGV[2] seconds after which those who wait are
-- forgotten if nobody enters  ARGV[3] number of permits to give back, then three for each of these:
-- ARGV number of its pool (from 1), token ('' = handed to it, not fetched), id
-- and three for each task to enter:
-- ARGV number of its pool, limit, id
--
-- Returns {waiting, called}:
--   waiting    for each pool, how many wait
--   called     ids of waiting tasks that have a permit now, and are to come for it
--
--- @include "clock"
--- @include "key_types"
--- @include "permits"

local wrong
for i = 1, #KEYS, 2 do
  wrong = wrong or wrong_type(KEYS[i], 'zset', KEYS[i + 1], 'zset')
end
if wrong then return wrong end

local time = now()
local call_seconds, forget = tonumber(ARGV[1]), tonumber(ARGV[2])
local first_entry = 4 + 3 * tonumber(ARGV[3])
for i = 4, first_entry - 1, 3 do
  redis.call('ZREM', KEYS[2 * ARGV[i] - 1], ARGV[i + 1] .. ' ' .. ARGV[i + 2])
end
-- The order of entering decides, also within one millisecond. Who waits already keeps the place.
local ticket = math.floor(time * 1000000)
for i = first_entry, #ARGV, 3 do
  local waiting = KEYS[2 * ARGV[i]]
  redis.call('ZADD', waiting, 'NX', string.format('%.0f', ticket + i), ARGV[i + 1] .. ' ' .. ARGV[i + 2])
  redis.call('EXPIRE', waiting, forget)
end

local left, called = {}, {}
for i = 1, #KEYS, 2 do
  drop_expired(KEYS[i], time)
  call_waiting(KEYS[i], KEYS[i + 1], time, call_seconds, called)
  table.insert(left, redis.call('ZCARD', KEYS[i + 1]))
end
return {left, called}
