#!lua
-- restart: STOPPED, ended -> WAIT
-- Put a task that was stopped or has ended back on its queue, with the data it has now.
--
-- What the last run left (output, lost workers) is forgotten, the number of attempts is kept.
--
-- KEYS[1] record (hash)  KEYS[2] tasks (set)  KEYS[3] default new queue (list)  KEYS[4] failed (zset)
-- ARGV[1] id  ARGV[2] request id  ARGV[3] channel of the fleet
-- ARGV[4 ..] states it may be restarted from; none: any
--
-- Returns  1 waiting again
--          2 put back by this very request before
--          0 no such task
--         -1 its state is not among those given
--         -3 the record's key holds another type
--         -4 waiting or running, left alone
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "unqueue"
--- @include "publish_queued"

local record = read_record(KEYS[1], 'state', 'eid', 'queue', 'unqueue', 'task', 'kept')
if not record then return -3 end
local state = record[1] or ''
if state == '' and not record[5] and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local queue = queue_key(KEYS[3], record[3])
local wrong = wrong_type(KEYS[2], 'set', queue, 'list', KEYS[4], 'zset')
if wrong then return wrong end
if record[2] == ARGV[2] then return 2 end

local allowed = #ARGV == 3
for i = 4, #ARGV do
  if ARGV[i] == state or (ARGV[i] == 'WAIT' and state == '') then allowed = true end
end
if not allowed then return -1 end
if state == '' or state == 'WAIT' or state == 'RETRY' or state == 'RUNNING' then return -4 end

redis.call('HSET', KEYS[1], 'state', 'WAIT', 'eid', ARGV[2], 'last_update', stamp(now()))
redis.call('HDEL', KEYS[1], 'output', 'error', 'ended', 'reaps', 'history', 'control', 'expires',
  'end_claim', 'retries', 'kept')
-- A result that is kept would be forgotten in its time, whatever the task does then.
if record[6] then redis.call('PERSIST', KEYS[1]) end
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
if is_unqueued(record[4], queue_name(record[3])) then
  write_unqueue(KEYS[1], unqueue_without(record[4], queue_name(record[3])))
else
  redis.call('LPUSH', queue, ARGV[1])
end
publish_queued(ARGV[3], {ARGV[1]})
return 1
