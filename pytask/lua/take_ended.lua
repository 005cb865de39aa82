#!lua flags=allow-oom
-- take_ended: end queue -> claim list of a Cleanup
-- Hand ended tasks with their records to a Cleanup. They stay in its claim list until it acknowledges
-- them, so that a repeated call, or a Cleanup that takes over, gets the same ones again.
--
-- KEYS[1] end queue (list)  KEYS[2] claim list (list)
-- ARGV[1] prefix of records  ARGV[2] most tasks to take  ARGV[3] worker the Cleanup runs on
--
-- Returns for each task: id, its record as a list of fields and values
--
--- @include "key_types"
--- @include "read_record"

local wrong = wrong_type(KEYS[1], 'list', KEYS[2], 'list')
if wrong then return wrong end

local ended = {SUCCESS = true, ERROR = true, EXCEPTION = true, REVOKED = true}
local limit = tonumber(ARGV[2])
local held = redis.call('LRANGE', KEYS[2], -limit, -1)
local fresh = {}
if #held < limit then fresh = redis.call('LRANGE', KEYS[1], -(limit - #held), -1) end

local taken, drops, seen = {}, {}, {}
local function take(id)
  local key = ARGV[1] .. id
  local record = read_record(key, 'state', 'task')
  if not record or seen[id] or not ended[record[1] or ''] then
    -- Removed or restarted since it ended: nothing to clean up.
    table.insert(drops, {id, record ~= nil and not seen[id]})
    return false
  end
  seen[id] = true
  table.insert(taken, {id, key})
  return true
end

local keep, entries = {}, {}
for i = #held, 1, -1 do
  if not take(held[i]) then table.insert(keep, held[i]) end
end
for i = #fresh, 1, -1 do
  if take(fresh[i]) then table.insert(entries, fresh[i]) end
end

for _, id in ipairs(keep) do redis.call('LREM', KEYS[2], -1, id) end
if #fresh > 0 then redis.call('LTRIM', KEYS[1], 0, -(#fresh + 1)) end
if #entries > 0 then redis.call('LPUSH', KEYS[2], unpack(entries)) end
for _, drop in ipairs(drops) do
  if drop[2] then redis.call('HDEL', ARGV[1] .. drop[1], 'end_entry') end
end
local reply = {}
for _, item in ipairs(taken) do
  redis.call('HDEL', item[2], 'end_entry')
  redis.call('HSET', item[2], 'end_claim', ARGV[3])
  table.insert(reply, item[1])
  table.insert(reply, redis.call('HGETALL', item[2]))
end
return reply
