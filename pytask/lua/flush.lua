#!lua flags=allow-oom
-- flush: WAIT, RETRY -> (none)
-- Remove the tasks that wait in a queue, the next to be taken first, a batch at a time.
--
-- What runs is never touched, though its ID may stand in the queue once more: the entry goes, the
-- task stays, and so do stopped and ended ones. An ID that a worker has popped is not in the queue any
-- more, and one that is delayed not yet.
--
-- KEYS[1] new queue (list)  KEYS[2] missing (zset)  KEYS[3] tasks (set)  KEYS[4] delayed (zset)
-- KEYS[5] default new queue (list)  KEYS[6] end queue (list)
-- ARGV[1] name of the queue  ARGV[2] prefix of records  ARGV[3] prefix of channels
-- ARGV[4] most entries to look at
--
-- Returns {looked at, removed, left}: entries of the queue, tasks, and entries again
--
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "publish_event"
--- @include "unqueue"

local wrong = wrong_type(KEYS[1], 'list', KEYS[2], 'zset', KEYS[3], 'set', KEYS[4], 'zset',
  KEYS[6], 'list')
if wrong then return wrong end

local ids = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[4]), -1)
local aside = redis.call('ZRANGE', KEYS[2], 0, ARGV[4] - 1)
local records, voids, doomed = {}, {}, {}

local function look(id)
  if records[id] == nil then
    records[id] = read_record(ARGV[2] .. id, 'state', 'task', 'unqueue', 'queue', 'end_entry') or
      false
    voids[id] = records[id] and records[id][3] or ''
  end
  local record = records[id]
  if not record then return end
  local state = record[1] or ''
  if is_unqueued(voids[id], ARGV[1]) then
    -- A stop left this entry behind; the task may stand here once more, or be delayed.
    voids[id] = unqueue_without(voids[id], ARGV[1]) or ''
  elseif state == 'WAIT' or state == 'RETRY' or (state == '' and record[2]) then
    doomed[id] = true
  end
end
for i = #ids, 1, -1 do look(ids[i]) end
for _, id in ipairs(aside) do look(id) end

-- Entries elsewhere would look like IDs whose record is still to come. There hardly ever are any:
-- only who finds one reads a whole list.
local strays = {}
local function is_elsewhere(id, queue)
  local list = queue_key(KEYS[5], queue)
  if list == KEYS[1] then return end
  wrong = wrong or wrong_type(list, 'list')
  table.insert(strays, {list, id})
end
for id in pairs(doomed) do
  is_elsewhere(id, records[id][4])
  for name in string.gmatch(voids[id], '[^ ]+') do is_elsewhere(id, name) end
  if records[id][5] == '1' then table.insert(strays, {KEYS[6], id}) end
end
if wrong then return wrong end

if #ids > 0 then redis.call('LTRIM', KEYS[1], 0, -(#ids + 1)) end
if #aside > 0 then redis.call('ZREM', KEYS[2], unpack(aside)) end
for _, stray in ipairs(strays) do redis.call('LREM', stray[1], 0, stray[2]) end
local removed = 0
for id, record in pairs(records) do
  local key = ARGV[2] .. id
  if doomed[id] then
    redis.call('DEL', key)
    redis.call('SREM', KEYS[3], id)
    redis.call('ZREM', KEYS[4], id)
    publish_event(ARGV[3], id, 'removed', 'null')
    removed = removed + 1
  elseif record and voids[id] ~= (record[3] or '') then
    write_unqueue(key, voids[id] ~= '' and voids[id])
  end
end
return {#ids, removed, redis.call('LLEN', KEYS[1])}
