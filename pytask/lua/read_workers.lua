#!lua flags=no-writes
-- read_workers: the registry, as of one instant
-- List the workers with the seconds since their last beat on the server's clock.
--
-- KEYS[1] workers (zset)
-- ARGV[1] prefix of worker keys  ARGV[2] only those silent for longer than this, in seconds; -1: all
--
-- Returns {server time, seconds, worker, seconds silent, its fields and values as a list, worker, …};
-- the first seconds are those until somebody can be silent for so long, -1 if somebody is or nobody
-- is registered
--
--- @include "clock"
--- @include "key_types"

-- Every Monitor asks this all the time, mostly to learn that nobody is silent.
local first = redis.pcall('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wrong = not first[1] and wrong_type(KEYS[1], 'zset')
if wrong then return wrong end
local time, silent = now(), tonumber(ARGV[2])
if not first[1] then return {stamp(time), '-1'} end
local oldest = tonumber(first[2])
if silent >= 0 and oldest >= tonumber(stamp(time - silent)) then
  return {stamp(time), stamp(oldest + silent - time)}
end

local latest = silent < 0 and '+inf' or '(' .. stamp(time - silent)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'WITHSCORES')
local reply = {stamp(time), '-1'}
for i = 1, #found, 2 do
  local details = redis.pcall('HGETALL', ARGV[1] .. found[i])
  table.insert(reply, found[i])
  table.insert(reply, stamp(time - tonumber(found[i + 1])))
  table.insert(reply, details.err and {} or details)
end
return reply
