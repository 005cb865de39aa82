#!lua flags=allow-oom
-- promote: delayed set -> new queue
-- Move the tasks whose time has come, and those that are called although it has not: a limit held
-- them back, and has room for them now. The state stays (WAIT or RETRY) until the claim.
--
-- A task that is called was first in the queue once, so it goes to the front. Who is in the delayed
-- set for another reason by now, such as a retry, stays there.
--
-- KEYS[1] delayed (zset)  KEYS[2] default new queue (list)
-- ARGV[1] prefix of records  ARGV[2] most tasks to move that are due  ARGV[3] channel that wakes
-- workers  ARGV[4] number of the partition  ARGV[5] channel of the fleet
-- ARGV[6 ..] id of each task that is called
--
-- Returns {moved, microseconds until the next one is due or -1}
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "unqueue"
--- @include "wake"
--- @include "publish_queued"

-- Every worker asks this all the time, mostly for nothing.
local first = redis.pcall('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wrong = first.err and wrong_type(KEYS[1], 'zset')
if wrong then return wrong end
if not first[1] then return {0, -1} end
local time = now()
if #ARGV < 6 and tonumber(first[2]) > tonumber(stamp(time)) then
  return {0, math.max(0, math.floor((tonumber(first[2]) - time) * 1000000))}
end

wrong = wrong_type(KEYS[2], 'list')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', stamp(time), 'LIMIT', 0, ARGV[2])
local moves, seen = {}, {}
local function plan(id, push, held_until)
  local record = read_record(ARGV[1] .. id, 'state', 'queue', 'task', 'unqueue', 'held')
  local state = record and record[1] or ''
  seen[id] = true
  if held_until and (not record or tonumber(record[5]) ~= held_until) then return false end
  if record and record[3] and (state == '' or state == 'WAIT' or state == 'RETRY') then
    local queue = queue_key(KEYS[2], record[2])
    wrong = wrong or wrong_type(queue, 'list')
    table.insert(moves, {queue, id, queue_name(record[2]), record[4], push})
  end
  return true
end
for _, id in ipairs(due) do plan(id, 'LPUSH') end
-- From the last to the first, so that the first is at the front.
for i = #ARGV, 6, -1 do
  local id = ARGV[i]
  local delayed_until = not seen[id] and redis.call('ZSCORE', KEYS[1], id)
  if delayed_until and plan(id, 'RPUSH', tonumber(delayed_until)) then table.insert(due, id) end
end
if wrong then return wrong end

if #due > 0 then redis.call('ZREM', KEYS[1], unpack(due)) end
local queued = {}
for _, move in ipairs(moves) do
  local list, id, name, unqueue, push = unpack(move)
  if is_unqueued(unqueue, name) then
    write_unqueue(ARGV[1] .. id, unqueue_without(unqueue, name))
  else
    redis.call(push, list, id)
    wake_node(ARGV[3], ARGV[4], name)
  end
  table.insert(queued, id)
end
publish_queued(ARGV[5], queued)
local nearest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = -1
if nearest[2] then wait = math.max(0, math.floor((tonumber(nearest[2]) - time) * 1000000)) end
return {#moves, wait}
