#!lua flags=allow-oom
-- reap: stale RUNNING -> WAIT; -> EXCEPTION if it is to blame for its workers; local: removed
-- Take tasks back whose owner let the lease run out. Anyone may call it, any number at once.
--
-- Stale is, on the server's clock and by the record, not by the index, a run whose last_update is
--   * older than the task time-out, or
--   * older than the worker time-out while its worker is among the dead ones given.
-- A lease from the future (the clock was set back) is fresh. A task that was told to stop is STOPPED.
-- A run that lasted ten task time-outs clears its task of the workers lost before: a service that
-- loses one now and then over months is no poison.
--
-- A task that kills its worker takes innocent ones with it, which must not share its fate. So a lost
-- worker condemns one task at most, of those that have now lost as many workers as are allowed: the
-- one that lost most, and of these the one started last, for poison acts soon. And whoever is one
-- worker away from that comes back by itself: what comes back together would start together, and
-- nobody could tell who was last. What is in other partitions, or beyond the limit of this call, is
-- judged by itself. With one worker allowed, each task it ran is condemned: it must not run again.
--
-- KEYS[1] tasks (set)  KEYS[2] leases (zset)  KEYS[3] default new queue (list)
-- KEYS[4] end queue (list)  KEYS[5] delayed (zset)
-- ARGV[1] prefix of records  ARGV[2] prefix of channels  ARGV[3] task time-out  ARGV[4] worker
-- time-out, in seconds  ARGV[5] lost workers after which it may be condemned  ARGV[6] most leases to
-- look at  ARGV[7] how many of the oldest leases to skip  ARGV[8] channel that wakes
-- workers  ARGV[9] number of the partition  ARGV[10 ..] dead workers
--
-- Returns {looked at, reaped}; reaped is id, code, for each task taken back:
--          1 waiting again, or stopped
--          3 removed, it was local
--          4 a dead letter
--          0 the index named a task without a record; the entry was dropped
--         -1 not RUNNING; the entry was dropped
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "publish_event"
--- @include "end_task"
--- @include "wake"

local prefix, channel = ARGV[1], ARGV[2]
local task_timeout, worker_timeout = tonumber(ARGV[3]), tonumber(ARGV[4])
local max_reaps = tonumber(ARGV[5])
local dead, any_dead = {}, false
for i = 10, #ARGV do dead[ARGV[i]], any_dead = true, true end

-- With no dead worker only leases past the task time-out matter: O(stale), not O(running).
local time = now()
local oldest = time - (any_dead and math.min(worker_timeout, task_timeout) or task_timeout)
local ids = redis.pcall('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. stamp(oldest), 'LIMIT', ARGV[7],
  ARGV[6])
if not ids.err and not ids[1] then return {0, {}} end
local wrong = wrong_type(KEYS[1], 'set', KEYS[2], 'zset', KEYS[3], 'list', KEYS[4], 'list',
  KEYS[5], 'zset')
if wrong or ids.err then return wrong or ids end

-- The last ten lost workers are kept: an innocent task may lose any number.
local function append(history, line)
  local lines = {}
  for one in string.gmatch(history or '', '[^\n]+') do table.insert(lines, one) end
  table.insert(lines, line)
  return {unpack(lines, math.max(1, #lines - 9))}
end

local function dead_letter(lost, reaps)
  return cjson.encode({
    reason = 'gave up: ' .. reaps .. ' workers were lost while they ran this task',
    lost_workers = lost,
  })
end

local stale = {}
for _, id in ipairs(ids) do
  local record = read_record(prefix .. id, 'state', 'last_update', 'worker', 'local', 'reaps',
    'queue', 'attempts', 'control', 'history', 'cleanup', 'end_entry', 'run', 'started')
  local item = {id = id, record = record or {}, code = 1}
  if not record or not record[1] then
    item.code = 0
  elseif record[1] ~= 'RUNNING' then
    item.code = -1
  else
    local age = time - (tonumber(record[2]) or 0)
    if age <= task_timeout and not (dead[record[3] or ''] and age > worker_timeout) then
      item = nil
    elseif record[4] == 'true' then
      item.code = 3
    elseif record[8] ~= 'stop' then
      local lasted = (tonumber(record[2]) or 0) - (tonumber(record[13]) or math.huge)
      if lasted > 10 * task_timeout then record[5], record[9] = false, false end
      item.queue = queue_key(KEYS[3], record[6])
      wrong = wrong or wrong_type(item.queue, 'list')
      item.reaps = (tonumber(record[5]) or 0) + 1
      item.lost = append(record[9], 'attempt ' .. (record[7] or '?') .. ': ' ..
        (record[3] or 'unknown worker') .. ' silent since ' .. (record[2] or 'ever') ..
        ', taken back at ' .. stamp(time))
      item.history = table.concat(item.lost, '\n')
      item.started = tonumber(record[13]) or 0
    end
  end
  if item then table.insert(stale, item) end
end
if wrong then return wrong end

local function is_worse(item, other)
  if item.reaps ~= other.reaps then return item.reaps > other.reaps end
  return item.started >= other.started
end

local condemned, on_probation = {}, {}
for i, item in ipairs(stale) do
  if item.reaps and item.reaps >= max_reaps then
    -- Who allows for one worker only wants no second start at any price.
    local by = max_reaps <= 1 and i or item.record[3] or ''
    if not condemned[by] or is_worse(item, condemned[by]) then condemned[by] = item end
  end
end
for _, item in pairs(condemned) do
  item.code = 4
  item.output = dead_letter(item.lost, item.reaps)
end
for _, item in ipairs(stale) do
  if item.code == 1 and item.reaps and item.reaps >= max_reaps - 1 then
    table.insert(on_probation, item)
  end
end
-- Longer than poison takes that acts at once; but nobody waits for longer than a stale lease lasts.
local apart = math.min(0.2, task_timeout / #on_probation)
for i, item in ipairs(on_probation) do item.delay = (i - 1) * apart end

local reaped, at = {}, stamp(time)
for _, item in ipairs(stale) do
  local id, record, key = item.id, item.record, prefix .. item.id
  redis.call('ZREM', KEYS[2], id)
  if item.code == 0 then
    redis.call('SREM', KEYS[1], id)
  elseif item.code == 3 then
    redis.call('DEL', key)
    redis.call('SREM', KEYS[1], id)
    publish_event(channel, id, 'removed', 'null')
  elseif item.code > 0 then
    redis.call('HDEL', key, 'run', 'worker', 'control', 'started')
    if not item.queue then
      redis.call('HSET', key, 'state', 'STOPPED', 'ended', at)
      publish_event(channel, id, 'stopped', 'null')
    elseif item.code == 4 then
      redis.call('HSET', key, 'state', 'EXCEPTION', 'ended', at, 'reaps', item.reaps,
        'history', item.history, 'output', item.output, 'done_run', (record[12] or '') .. '/reap')
      end_task(KEYS[1], KEYS[4], key, id, record[10], record[11])
      publish_event(channel, id, 'exception', item.output)
    else
      redis.call('HSET', key, 'state', 'WAIT', 'reaps', item.reaps, 'history', item.history)
      redis.call('SREM', KEYS[1], id)
      if (item.delay or 0) > 0 then
        redis.call('ZADD', KEYS[5], stamp(time + item.delay), id)
      else
        redis.call('RPUSH', item.queue, id)
      end
      publish_event(channel, id, 'requeued', 'null')
    end
  end
  table.insert(reaped, id)
  table.insert(reaped, item.code)
end
if #on_probation > 1 then wake_promoters(ARGV[8], ARGV[9]) end
return {#ids, reaped}
