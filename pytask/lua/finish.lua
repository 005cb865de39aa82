#!lua flags=allow-oom
-- finish: RUNNING -> SUCCESS | ERROR | EXCEPTION | REVOKED | STOPPED | RETRY
-- Store how runs ended; only the owner of a run may.
--
-- A failed attempt that wants another one (RETRY) but was told to stop meanwhile is STOPPED instead.
-- Retries are counted here, so that a repeated call counts one.
--
-- KEYS[1] tasks (set)  KEYS[2] leases (zset)  KEYS[3] end queue (list)  KEYS[4] delayed (zset)
-- KEYS[5 ..] record (hash) of each run
-- ARGV[1] prefix of channels, then five for each run:
-- ARGV id, token, state, output (encoded), and for RETRY the delay in seconds until the next attempt,
-- for a failure what was raised (JSON object) if that is known
--
-- Returns a list with a code for each run:
--          1 stored
--          2 stored by this run before
--          0 no such task
--         -1 not RUNNING
--         -2 another run owns it
--         -3 the record's key holds another type
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "check_token"
--- @include "publish_event"

local wrong = wrong_type(KEYS[1], 'set', KEYS[2], 'zset', KEYS[3], 'list', KEYS[4], 'zset')
if wrong then return wrong end

local codes, records, seen = {}, {}, {}
for i = 1, #KEYS - 4 do
  local record = read_record(KEYS[4 + i], 'state', 'run', 'done_run', 'cleanup', 'end_entry',
    'control', 'retries')
  local token = ARGV[5 * i - 2]
  codes[i] = record and check_token(record[1], record[2], record[3], token, token) or -3
  if codes[i] == 1 and seen[token] then codes[i] = 2 end
  seen[token] = true
  records[i] = record
end

local time = now()
local at = stamp(time)
local released, gone, kept, ended = {}, {}, {}, {}
for i = 1, #codes do
  if codes[i] == 1 then
    local n = 5 * i - 3
    local id, token, state, output = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]
    local record, key = records[i], KEYS[4 + i]
    local detail = ARGV[n + 4]
    if state == 'RETRY' and record[6] == 'stop' then state = 'STOPPED' end
    local to_end = state ~= 'RETRY' and state ~= 'STOPPED'
    local queued = to_end and record[4] ~= 'false'
    redis.call('HSET', key, 'state', state, 'output', output, 'ended', at, 'done_run', token,
      'end_entry', (queued or record[5] == '1') and '1' or '0')
    redis.call('HDEL', key, 'run', 'worker', 'control', 'error')
    table.insert(released, id)
    if state == 'RETRY' then
      local delay = tonumber(detail) or 0
      redis.call('ZADD', KEYS[4], stamp(delay == delay and time + delay or time), id)
      redis.call('HSET', key, 'retries', (tonumber(record[7]) or 0) + 1)
      table.insert(gone, id)
    elseif queued then
      table.insert(gone, id)
      if record[5] ~= '1' then table.insert(ended, id) end
    else
      table.insert(kept, id)
    end
    local raised = (state == 'ERROR' or state == 'EXCEPTION') and string.sub(detail, 1, 1) == '{' and
      detail
    if raised then redis.call('HSET', key, 'error', raised) end
    publish_event(ARGV[1], id, string.lower(state), output, raised)
  end
end
if #released > 0 then redis.call('ZREM', KEYS[2], unpack(released)) end
if #gone > 0 then redis.call('SREM', KEYS[1], unpack(gone)) end
if #kept > 0 then redis.call('SADD', KEYS[1], unpack(kept)) end
if #ended > 0 then redis.call('LPUSH', KEYS[3], unpack(ended)) end
return codes
