#!lua flags=allow-oom
-- heartbeat: RUNNING -> RUNNING
-- Refresh the leases of runs, and learn which are lost and which were told to stop or reload.
--
-- KEYS[1] leases (zset)  KEYS[2 ..] record (hash) of each run
-- ARGV id, token, for each run
--
-- Returns index, code, control, for each run that needs attention and no other:
--          1 refreshed, and `control` is pending
--          0 no such task
--         -1 not RUNNING (2: because this run finished it)
--         -2 another run owns it
--         -3 the record's key holds another type
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "check_token"

local wrong = may_move and wrong_type(KEYS[1], 'zset')
if wrong then return wrong end

local attention, owned, leases = {}, {}, {}
local at = stamp(now())
for i = 2, #KEYS do
  local id, token = ARGV[2 * i - 3], ARGV[2 * i - 2]
  local record = read_record(KEYS[i], 'state', 'run', 'done_run', 'control')
  local code = record and check_token(record[1], record[2], record[3], token, token) or -3
  local control = code == 1 and record[4] or ''
  if code == 1 then
    table.insert(owned, KEYS[i])
    table.insert(leases, at)
    table.insert(leases, id)
  end
  if code ~= 1 or control ~= '' then
    local n = #attention
    attention[n + 1], attention[n + 2], attention[n + 3] = i - 2, code, control
  end
end
if #leases > 0 then
  -- The first write: where no key moves, it may be the one to find that the key is none of ours.
  local added = redis.pcall('ZADD', KEYS[1], unpack(leases))
  if type(added) == 'table' then return wrong_type(KEYS[1], 'zset') or added end
end
for _, key in ipairs(owned) do redis.call('HSET', key, 'last_update', at) end
return attention
