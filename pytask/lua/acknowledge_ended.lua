#!lua flags=allow-oom
-- acknowledge_ended: claim list of a Cleanup -> forgotten, or kept as failed
-- Confirm that ended tasks were dealt with. A success is forgotten, at once or by Redis itself when its
-- result was kept for long enough; a failure is kept and listed for a person to look at, unless the
-- retention is zero. A task that was restarted since it was taken (its done_run differs) is not touched.
--
-- KEYS[1] claim list (list)  KEYS[2] tasks (set)  KEYS[3] failed (zset)
-- KEYS[4] end queue (list)  KEYS[5 ..] records (hashes)
-- ARGV[1] '1' to keep failures  ARGV[2] how long to keep results, in milliseconds; then id, done_run, for
-- each task
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

local wrong = wrong_type(KEYS[1], 'list', KEYS[2], 'set', KEYS[3], 'zset', KEYS[4], 'list')
if wrong then return wrong end

local ended = {SUCCESS = true, ERROR = true, EXCEPTION = true, REVOKED = true}
local codes, states, keeps, unmarks, requeued = {}, {}, {}, {}, {}
for i = 1, #KEYS - 4 do
  local record = read_record(KEYS[4 + i], 'state', 'done_run', 'end_entry')
  states[i] = record and record[1]
  if not record then
    codes[i] = -3
  elseif not record[1] then
    codes[i] = 0
  elseif (record[2] or '') == ARGV[2 * i + 2] and ended[record[1]] then
    codes[i] = 1
    -- It was returned before by another Cleanup of this worker.
    requeued[i] = record[3] == '1'
  else
    codes[i] = -2
    -- It was restarted. If it has ended again and that end is not in the end queue, the entry we hold
    -- stands for it; if it has not, its end must not be taken for one that stands somewhere.
    local queued = redis.call('LPOS', KEYS[4], ARGV[2 * i + 1])
    keeps[i] = ended[record[1]] and not queued
    unmarks[i] = not ended[record[1]] and not queued and record[3] == '1'
  end
end

local at = stamp(now())
for i = 1, #codes do
  local id = ARGV[2 * i + 1]
  if not keeps[i] then redis.call('LREM', KEYS[1], -1, id) end
  if unmarks[i] then redis.call('HDEL', KEYS[4 + i], 'end_entry') end
  if requeued[i] then
    redis.call('LREM', KEYS[4], -1, id)
    redis.call('HDEL', KEYS[4 + i], 'end_entry')
  end
  if codes[i] == 1 then
    redis.call('SREM', KEYS[2], id)
    if states[i] == 'SUCCESS' and tonumber(ARGV[2]) > 0 then
      -- In no set and no list: `kept` tells it from an orphan. A repeat keeps it no longer.
      redis.call('HSET', KEYS[4 + i], 'kept', '1')
      redis.call('HDEL', KEYS[4 + i], 'end_claim')
      redis.call('PEXPIRE', KEYS[4 + i], ARGV[2], 'NX')
      redis.call('ZREM', KEYS[3], id)
    elseif states[i] == 'SUCCESS' or ARGV[1] ~= '1' then
      redis.call('DEL', KEYS[4 + i])
      redis.call('ZREM', KEYS[3], id)
    else
      redis.call('HDEL', KEYS[4 + i], 'end_claim')
      redis.call('ZADD', KEYS[3], at, id)
    end
  end
end
return codes
