#!lua flags=allow-oom
-- sweep: heals what no transition covers
-- Look at a few members of the task set and mend each by the rule it falls under:
--   no_record   in the set without a record            -> taken out of set and leases
--   no_lease    RUNNING without an entry in the leases -> entry added, so that it can go stale
--   not_ours    waiting in a queue or ended for Cleanup, yet in the set -> taken out of the set
--
-- KEYS[1] tasks (set)  KEYS[2] leases (zset)
-- ARGV[1] prefix of records  ARGV[2] cursor  ARGV[3] about how many to look at
--
-- Returns {next cursor, rule, id, rule, id, …}
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"

local wrong = wrong_type(KEYS[1], 'set', KEYS[2], 'zset')
if wrong then return wrong end

local scan = redis.call('SSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local at = stamp(now())
local report, leases = {scan[1]}, {}
for _, id in ipairs(scan[2]) do
  local record = read_record(ARGV[1] .. id, 'state', 'last_update', 'cleanup', 'task')
  local state = record and record[1] or ''
  local rule
  if not record then
    rule = nil
  elseif not record[1] and not record[4] and redis.call('EXISTS', ARGV[1] .. id) == 0 then
    rule = 'no_record'
  elseif state == 'RUNNING' then
    if not redis.call('ZSCORE', KEYS[2], id) then
      local last = tonumber(record[2])
      leases[id] = last and last == last and stamp(last) or at
      rule = 'no_lease'
    end
  elseif state == 'WAIT' or state == 'RETRY' or
      (state ~= '' and state ~= 'STOPPED' and record[3] ~= 'false') then
    rule = 'not_ours'
  end
  if rule then
    table.insert(report, rule)
    table.insert(report, id)
  end
end

for i = 2, #report, 2 do
  local rule, id = report[i], report[i + 1]
  if rule == 'no_lease' then
    redis.call('ZADD', KEYS[2], leases[id], id)
  else
    redis.call('SREM', KEYS[1], id)
    if rule == 'no_record' then redis.call('ZREM', KEYS[2], id) end
  end
end
return report
