#!lua flags=allow-oom
-- acknowledge_ended: claim list of a Cleanup -> forgotten, or kept as failed
-- Confirm that ended tasks were dealt with. A success is forgotten; a failure is kept and listed for a
-- person to look at, unless the retention is zero. A task that was restarted since it was taken (its
-- done_run differs) is not touched.
--
-- KEYS[1] claim list (list)  KEYS[2] tasks (set)  KEYS[3] failed (zset)  KEYS[4 ..] records (hashes)
-- ARGV[1] '1' to keep failures, then id, done_run, for each task
--
-- Returns a list with a code for each task:
--          1 forgotten or kept
--          0 no such task (any more)
--         -2 it has another end or run than the one acknowledged
--         -3 the record's key holds another type
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"

local wrong = wrong_type(KEYS[1], 'list', KEYS[2], 'set', KEYS[3], 'zset')
if wrong then return wrong end

local codes, states = {}, {}
for i = 1, #KEYS - 3 do
  local record = read_record(KEYS[3 + i], 'state', 'done_run', 'ended')
  states[i] = record and record[1]
  if not record then
    codes[i] = -3
  elseif not record[1] then
    codes[i] = 0
  elseif (record[2] or '') ~= ARGV[2 * i + 1] or record[1] == 'WAIT' or record[1] == 'RUNNING' or
      record[1] == 'RETRY' or record[1] == 'STOPPED' then
    codes[i] = -2
  else
    codes[i] = 1
  end
end

local at = stamp(now())
for i = 1, #codes do
  local id = ARGV[2 * i]
  redis.call('LREM', KEYS[1], -1, id)
  if codes[i] == 1 then
    redis.call('SREM', KEYS[2], id)
    if states[i] == 'SUCCESS' or ARGV[1] ~= '1' then
      redis.call('DEL', KEYS[3 + i])
    else
      redis.call('HDEL', KEYS[3 + i], 'end_claim')
      redis.call('ZADD', KEYS[3], at, id)
    end
  end
end
return codes
