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
-- replicas that follows covers what an earlier call has written  ARGV[4] channel of the fleet
-- ARGV[5] channel that wakes workers  ARGV[6] number of the partition  ARGV[7] prefix of records
-- ARGV[8 .. 7+2n] for each task: data (encoded), where behind all tasks its options begin; most have
-- the same
-- ARGV[8+2n ..] options: task, index of the queue among the queues, how many more there are, then name
-- and value of each of these: delay in seconds, at (unix time from which it may start), expires in
-- seconds, and fields that go into the record as they are, such as queue and policy
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

local count, request = tonumber(ARGV[1]), ARGV[2]
local first_queue, last_task, nothing = 3 + count, 7 + 2 * count, {}
local time = now()
local created = stamp(time)

local known = {}
local function options_of(i)
  local at = ARGV[7 + 2 * i]
  if known[at] then return known[at] end
  local first = last_task + tonumber(at)
  local options = {
    task = ARGV[first], list = KEYS[first_queue + tonumber(ARGV[first + 1])], due = time, fields = {}
  }
  for j = first + 3, first + 1 + 2 * tonumber(ARGV[first + 2]), 2 do
    local name, value = ARGV[j], ARGV[j + 1]
    if name == 'delay' then
      options.due = time + tonumber(value)
    elseif name == 'at' then
      options.due = tonumber(value)
    else
      if name == 'expires' then value = stamp(time + tonumber(value)) end
      if name == 'queue' then options.queue = value end
      table.insert(options.fields, name)
      table.insert(options.fields, value)
    end
  end
  known[at] = options
  return options
end

local function id_of(i)
  return string.sub(KEYS[3 + i], #ARGV[7] + 1)
end

-- One question for all records instead of one for each: mostly none of these tasks has been heard of.
-- The key that never exists lets it fail while a record is out of reach, as in read_record.
local are_new = redis.call('EXISTS', KEYS[1] .. ':\1', unpack(KEYS, 4, first_queue)) == 0

local codes, olds, seen, tasks, restarts, postpones = {}, {}, {}, {}, false, false
for i = 1, count do
  local id = id_of(i)
  local old = are_new and nothing or
    read_record(KEYS[3 + i], 'state', 'task', 'eid', 'unqueue', 'end_entry')
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
    restarts = restarts or old[1] or old[4]
    postpones = postpones or options_of(i).due > time
  end
  if is_first and (codes[i] == 2 or codes[i] == -4) then tasks[i] = old[2] end
end

-- Only what is about to be written; most often that is a queue.
local wrong = restarts and wrong_type(KEYS[1], 'set', KEYS[3], 'zset')
  or postpones and wrong_type(KEYS[2], 'zset')
for i = first_queue + 1, #KEYS do
  wrong = wrong or wrong_type(KEYS[i], 'list')
end
if wrong then return wrong end

-- queued: their IDs lie in the queue already.
local pushes, delayed, queued = {}, {}, {}
for i = 1, count do
  if codes[i] == 1 then
    local id, options, key, old = id_of(i), options_of(i), KEYS[3 + i], olds[i]
    local unqueue, name = old[4], queue_name(options.queue)
    if old[1] or unqueue then
      redis.call('DEL', key)
      redis.call('SREM', KEYS[1], id)
      redis.call('ZREM', KEYS[3], id)
    end
    redis.call('HSET', key, 'task', options.task, 'data', ARGV[6 + 2 * i], 'state', 'WAIT',
      'created', created, 'eid', request, unpack(options.fields))
    if old[5] == '1' then redis.call('HSET', key, 'end_entry', '1') end
    if options.due > time then
      redis.call('ZADD', KEYS[2], stamp(options.due), id)
      delayed[id] = true
    elseif is_unqueued(unqueue, name) then
      unqueue = unqueue_without(unqueue, name)
      table.insert(queued, id)
    else
      local pushed = pushes[options.list]
      if not pushed then
        pushed = {queue = options.queue}
        pushes[options.list] = pushed
      end
      pushed[#pushed + 1] = id
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
  wake_node(ARGV[5], ARGV[6], ids.queue)
  publish_queued(ARGV[4], ids)
end
if next(delayed) and delayed[redis.call('ZRANGE', KEYS[2], 0, 0)[1]] then
  wake_promoters(ARGV[5], ARGV[6])
end
publish_queued(ARGV[4], queued)
return codes
