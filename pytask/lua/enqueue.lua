#!lua
-- enqueue: (none), STOPPED, ended -> WAIT
-- Create tasks and put their IDs on a new queue or into the delayed set.
--
-- A task that is waiting or running is left alone, so that starting an ID twice is one task. An
-- ended or stopped one starts afresh. The request id tells a repeated call from a second caller.
--
-- KEYS[1] tasks (set)  KEYS[2] delayed (zset)  KEYS[3] failed (zset)
-- KEYS[4 .. 3+n] record (hash) of each task  KEYS[4+n ..] new queues (lists)
-- ARGV[1] number of tasks n  ARGV[2] request id  ARGV[3] '1' to write in any case, so that a WAIT for
-- replicas that follows covers what an earlier call has written  ARGV[4] task that starts them ('' =
-- none)  ARGV[5] channel of the fleet; then nine for each task:
-- ARGV id, task, data (encoded), index of its queue among the queues, name of its queue ('' = the
-- default one), cleanup ('' or 'false'), delay in seconds or '@' and the unix time from which it may
-- start, expires in seconds (0 = never), policy (JSON or '')
-- ARGV the last two: channel that wakes workers, number of the partition
--
-- Returns a list with a code for each task:
--          1 created
--          2 created by this very request before
--         -4 waiting or running, left alone
--         -3 the record's key holds another type
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "unqueue"
--- @include "wake"
--- @include "publish_queued"

local count = tonumber(ARGV[1])
local request, from_task = ARGV[2], ARGV[4]
local first_queue = 3 + count
local first, width = 6, 9

local wrong = wrong_type(KEYS[1], 'set', KEYS[2], 'zset', KEYS[3], 'zset')
for i = first_queue + 1, #KEYS do
  wrong = wrong or wrong_type(KEYS[i], 'list')
end
if wrong then return wrong end

local codes, olds, seen, tasks = {}, {}, {}, {}
for i = 1, count do
  local id = ARGV[first + (i - 1) * width]
  local old = read_record(KEYS[3 + i], 'state', 'task', 'eid', 'queue', 'unqueue', 'end_entry')
  local is_first = not seen[id]
  if not old then
    codes[i] = -3
  elseif seen[id] then
    codes[i] = -4
  elseif old[3] == request then
    codes[i] = 2
    seen[id] = true
  elseif old[1] == 'WAIT' or old[1] == 'RETRY' or old[1] == 'RUNNING' or
      ((old[1] or '') == '' and old[2]) then
    codes[i] = -4
  else
    codes[i] = 1
    olds[i] = old
    seen[id] = true
  end
  if is_first and (codes[i] == 2 or codes[i] == -4) then tasks[i] = old[2] end
end

local time = now()
local created = stamp(time)
-- queued: their IDs lie in the queue already.
local pushes, delayed, queued = {}, {}, {}
for i = 1, count do
  if codes[i] == 1 then
    local at = first + (i - 1) * width
    local id, task, data = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local queue_index, queue, cleanup = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
    local delay, expires = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
    local due = delay and time + delay or tonumber(string.sub(ARGV[at + 6], 2))
    local key, old = KEYS[3 + i], olds[i]
    local unqueue, name = old[5], queue_name(queue)
    if old[1] or unqueue then
      redis.call('DEL', key)
      redis.call('SREM', KEYS[1], id)
      redis.call('ZREM', KEYS[3], id)
    end
    redis.call('HSET', key, 'task', task, 'data', data, 'state', 'WAIT', 'created', created,
      'eid', request)
    if queue ~= '' then redis.call('HSET', key, 'queue', queue) end
    if cleanup ~= '' then redis.call('HSET', key, 'cleanup', cleanup) end
    if expires > 0 then redis.call('HSET', key, 'expires', stamp(time + expires)) end
    if ARGV[at + 8] ~= '' then redis.call('HSET', key, 'policy', ARGV[at + 8]) end
    if from_task ~= '' then redis.call('HSET', key, 'from_task', from_task) end
    if old[6] == '1' then redis.call('HSET', key, 'end_entry', '1') end
    if due > time then
      redis.call('ZADD', KEYS[2], stamp(due), id)
      delayed[id] = true
    elseif is_unqueued(unqueue, name) then
      unqueue = unqueue_without(unqueue, name)
      table.insert(queued, id)
    else
      local list = KEYS[first_queue + tonumber(queue_index)]
      pushes[list] = pushes[list] or {queue = queue}
      table.insert(pushes[list], id)
    end
    -- Entries a stop left elsewhere are still to be dropped, above all with a delay.
    if unqueue then write_unqueue(key, unqueue) end
  end
end
if ARGV[3] == '1' then
  for i = 1, count do
    if tasks[i] then redis.call('HSET', KEYS[3 + i], 'task', tasks[i]) end
  end
end
for list, ids in pairs(pushes) do
  redis.call('LPUSH', list, unpack(ids))
  wake_node(ARGV[#ARGV - 1], ARGV[#ARGV], ids.queue)
  publish_queued(ARGV[5], ids)
end
if next(delayed) and delayed[redis.call('ZRANGE', KEYS[2], 0, 0)[1]] then
  wake_promoters(ARGV[#ARGV - 1], ARGV[#ARGV])
end
publish_queued(ARGV[5], queued)
return codes
