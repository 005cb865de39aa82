#!lua flags=no-writes
-- read_workers: the registry, as of one instant
-- List the workers with the seconds since their last beat on the server's clock.
--
-- KEYS[1] workers (zset)
-- ARGV[1] prefix of worker keys  ARGV[2] only those silent for longer than this, in seconds; -1: all
--
-- Returns {server time, worker, seconds silent, its fields and values as a list, worker, …}
--
--- @include "clock"
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'zset')
if wrong then return wrong end
local time = now()
local silent = tonumber(ARGV[2])
local latest = silent < 0 and '+inf' or '(' .. stamp(time - silent)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'WITHSCORES')
local reply = {stamp(time)}
for i = 1, #found, 2 do
  local details = redis.pcall('HGETALL', ARGV[1] .. found[i])
  table.insert(reply, found[i])
  table.insert(reply, stamp(time - tonumber(found[i + 1])))
  table.insert(reply, details.err and {} or details)
end
return reply
