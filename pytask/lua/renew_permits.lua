#!lua flags=allow-oom
-- renew_permits: held -> held for longer
-- Extend permits that are still held. One that is not there any more was given up for lost, and may
-- have been granted to others since: it is not taken again.
--
-- KEYS[1 ..] permits (zset) of each pool
-- ARGV[1] seconds they are held from now, then three for each permit:
-- ARGV number of its pool (from 1), token, id
--
-- Returns the numbers, from 0, of the permits that are lost
--
--- @include "clock"
--- @include "key_types"
--- @include "permits"

local wrong
for i = 1, #KEYS do wrong = wrong or wrong_type(KEYS[i], 'zset') end
if wrong then return wrong end

local until_when = stamp(now() + tonumber(ARGV[1]))
local lost = {}
for i = 2, #ARGV, 3 do
  local permits, holder = KEYS[tonumber(ARGV[i])], ARGV[i + 1] .. ' ' .. ARGV[i + 2]
  if redis.call('ZSCORE', permits, holder) then
    redis.call('ZADD', permits, until_when, holder)
  else
    table.insert(lost, (i - 2) / 3)
  end
end
for i = 1, #KEYS do keep_until_last(KEYS[i]) end
return lost
