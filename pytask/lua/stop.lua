#!lua flags=allow-oom
-- stop: WAIT, RETRY -> STOPPED; RUNNING: tell the owner
-- Stop a task before it starts, or ask the worker that runs it to stop it.
--
-- The ID of a waiting task stays in its list, because taking it out would read the whole list;
-- `unqueue` tells the claim to drop it. For a running task the request is published, and written down
-- too: the next heartbeat of the owner picks it up if the message was lost.
--
-- KEYS[1] record (hash)  KEYS[2] tasks (set)  KEYS[3] delayed (zset)
-- ARGV[1] id  ARGV[2] prefix of channels
--
-- Returns  1 stopped
--          5 its worker was told
--          2 stopped before
--          0 no such task
--         -1 ended already
--         -3 the record's key holds another type
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "unqueue"
--- @include "publish_event"

local wrong = wrong_type(KEYS[2], 'set', KEYS[3], 'zset')
if wrong then return wrong end
local record = read_record(KEYS[1], 'state', 'queue', 'unqueue')
if not record then return -3 end
local state = record[1]
if not state and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if state == 'STOPPED' then return 2 end

if state == 'RUNNING' then
  redis.call('HSET', KEYS[1], 'control', 'stop')
  redis.call('PUBLISH', ARGV[2] .. ARGV[1] .. '-control', 'stop')
  return 5
end
if state and state ~= '' and state ~= 'WAIT' and state ~= 'RETRY' then return -1 end

redis.call('HSET', KEYS[1], 'state', 'STOPPED', 'ended', stamp(now()))
local queue = queue_name(record[2])
if redis.call('ZREM', KEYS[3], ARGV[1]) == 0 and not is_unqueued(record[3], queue) then
  write_unqueue(KEYS[1], (record[3] and record[3] .. ' ' or '') .. queue)
end
redis.call('SADD', KEYS[2], ARGV[1])
publish_event(ARGV[2], ARGV[1], 'stopped', 'null')
return 1
