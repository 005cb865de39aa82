#!lua
-- acquire_permits: a permit of a pool -> held
-- Grant permits as far as their pools have any, after those who wait have been served.
--
-- A pool never has more holders than the limit of whoever asks. Asking again under the same token
-- extends what was granted before. The fence grows with every grant, also after a failover that lost
-- the last ones: it is never less than the server's time in microseconds.
--
-- KEYS[1] fence (string)  KEYS[2 ..] for each pool: permits (zset), waiting (zset)
-- ARGV[1] seconds a permit is held unless it is renewed  ARGV[2] seconds a task that is called has to
-- come, then four for each request:
-- ARGV number of its pool (from 1), token, id, limit
--
-- Returns {answers, called}:
--   answers    for each request its fence (a number from 1), or how many wait, less than 1: refused
--   called     ids of waiting tasks that have a permit now, and are to come for it
--
--- @include "clock"
--- @include "key_types"
--- @include "permits"

local wrong = wrong_type(KEYS[1], 'string')
for i = 2, #KEYS, 2 do
  wrong = wrong or wrong_type(KEYS[i], 'zset', KEYS[i + 1], 'zset')
end
if wrong then return wrong end

local time = now()
local hold, call_seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local called = {}
for i = 2, #KEYS, 2 do
  drop_expired(KEYS[i], time)
  call_waiting(KEYS[i], KEYS[i + 1], time, call_seconds, called)
end

local last = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
local fence = math.max(last, math.floor(time * 1000000))
local until_when = stamp(time + hold)
local answers, touched = {}, {}
for i = 3, #ARGV, 4 do
  local permits, waiting = KEYS[2 * ARGV[i]], KEYS[2 * ARGV[i] + 1]
  local token, id, limit = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local holder = token .. ' ' .. id
  local granted = redis.call('ZSCORE', permits, holder)
  if not granted then
    redis.call('ZREM', permits, ' ' .. id)
    granted = redis.call('ZCARD', permits) < tonumber(limit)
  end
  if granted then
    redis.call('ZADD', permits, until_when, holder)
    touched[permits] = true
    fence = fence + 1
    table.insert(answers, fence)
  else
    table.insert(answers, -redis.call('ZCARD', waiting))
  end
end
for permits in pairs(touched) do keep_until_last(permits) end
if next(touched) then redis.call('SET', KEYS[1], string.format('%.0f', fence)) end
return {answers, called}
