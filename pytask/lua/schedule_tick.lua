#!lua
-- schedule_tick: one occurrence of a schedule -> WAIT
-- Move the due time of a schedule on, and start the task of the occurrence that was due, in one step:
-- whoever comes second finds another due time and does nothing, so each occurrence starts once
-- whatever dies. Without an expected due time it makes the schedule known, or has it come sooner if it
-- was due later than it should be now (its definition has changed).
--
-- KEYS[1] schedules (hash: name -> next due time)  KEYS[2] record (hash)  KEYS[3] new queue (list)
-- ARGV[1] name of the schedule  ARGV[2] due time the caller knows ('' = none)  ARGV[3] next due time
-- ARGV[4] id of the task to start ('' = none: the occurrence is left out)  ARGV[5] task
-- ARGV[6] data (encoded)  ARGV[7] name of its queue ('' = the default one)
-- ARGV[8] seconds until it expires (0 = never)  ARGV[9] channel that wakes workers
-- ARGV[10] number of the partition  ARGV[11] channel of the fleet
--
-- Returns {code, due time now, time}:
--          1 moved on; the task was started, if there was one
--          0 the due time is not the expected one: somebody else was here
--         -1 it is not due yet
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "unqueue"
--- @include "wake"
--- @include "publish_queued"

local wrong = wrong_type(KEYS[1], 'hash', KEYS[3], 'list')
if wrong then return wrong end

local name, expected, next_due, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = now()
local at = stamp(time)
local due = redis.call('HGET', KEYS[1], name)
local readable = due and tonumber(due)

if expected == '' then
  if not readable or readable > tonumber(next_due) then
    redis.call('HSET', KEYS[1], name, next_due)
    return {1, next_due, at}
  end
  return {0, due, at}
end
if due ~= expected then return {0, due or '', at} end
if time < readable then return {-1, due, at} end

-- A record under this ID is this very occurrence, of a schedule that was lost and made known again.
local record = id ~= '' and read_record(KEYS[2], 'state', 'task', 'unqueue')
redis.call('HSET', KEYS[1], name, next_due)
if record and not record[1] and not record[2] then
  redis.call('HSET', KEYS[2], 'task', ARGV[5], 'data', ARGV[6], 'state', 'WAIT', 'created', at,
    'schedule', name)
  if ARGV[7] ~= '' then redis.call('HSET', KEYS[2], 'queue', ARGV[7]) end
  local expires = tonumber(ARGV[8])
  if expires > 0 then redis.call('HSET', KEYS[2], 'expires', stamp(time + expires)) end
  local queue = queue_name(ARGV[7])
  if is_unqueued(record[3], queue) then
    write_unqueue(KEYS[2], unqueue_without(record[3], queue))
  else
    redis.call('LPUSH', KEYS[3], id)
    wake_node(ARGV[9], ARGV[10], queue)
  end
  publish_queued(ARGV[11], {id})
end
return {1, next_due, at}
