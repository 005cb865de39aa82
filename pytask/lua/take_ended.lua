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

-- Whether it is to be cleaned up: not if it was removed or restarted since it ended, nor if it was
-- started anew with cleanup=false and has ended while the old entry still stood somewhere.
local taken, held_marked, popped, seen = {}, {}, {}, {}
local function take(id, marked)
  local key = ARGV[1] .. id
  local record = read_record(key, 'state', 'end_entry', 'cleanup')
  if record and record[2] == '1' then marked[id] = key end
  if not record or seen[id] or not ended[record[1] or ''] then return false end
  if record[3] == 'false' then return false end
  seen[id] = true
  table.insert(taken, {id, key})
  return true
end

local stale, entries = {}, {}
for i = #held, 1, -1 do
  if not take(held[i], held_marked) then table.insert(stale, held[i]) end
end
for i = #fresh, 1, -1 do
  if take(fresh[i], popped) then table.insert(entries, fresh[i]) end
end

for _, id in ipairs(stale) do redis.call('LREM', KEYS[2], -1, id) end
if #fresh > 0 then redis.call('LTRIM', KEYS[1], 0, -(#fresh + 1)) end
if #entries > 0 then redis.call('LPUSH', KEYS[2], unpack(entries)) end
for _, key in pairs(popped) do redis.call('HDEL', key, 'end_entry') end
-- Of those that were held, one may have ended again since and stand in the end queue; one that came
-- by a blocking pop does not. They are few, and only the list itself tells them apart.
for id, key in pairs(held_marked) do
  if not popped[id] and not redis.call('LPOS', KEYS[1], id) then
    redis.call('HDEL', key, 'end_entry')
  end
end
local reply = {}
for _, item in ipairs(taken) do
  redis.call('HSET', item[2], 'end_claim', ARGV[3])
  table.insert(reply, item[1])
  table.insert(reply, redis.call('HGETALL', item[2]))
end
return reply
