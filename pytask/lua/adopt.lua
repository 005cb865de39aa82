#!lua flags=allow-oom
-- adopt: WAIT or RETRY in no list -> its queue; ended -> end queue; the rest -> task set
-- Put an orphan back where its state says it belongs. The caller suspects it; this script makes
-- sure, by reading the lists, which is why it is called for suspects only.
--
-- An ID in some worker's claim list looks like an orphan for a moment; a second entry does no harm,
-- because the claim drops it.
--
-- KEYS[1] record (hash)  KEYS[2] default new queue (list)  KEYS[3] delayed (zset)
-- KEYS[4] end queue (list)  KEYS[5] tasks (set)  KEYS[6] failed (zset)
-- ARGV[1] id  ARGV[2] '1' to look only and write nothing
--
-- Returns  1 put back, or an orphan
--          0 no such task
--         -1 it is where it belongs
--         -3 the record's key holds another type
--
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "unqueue"

local record = read_record(KEYS[1], 'state', 'queue', 'end_claim', 'cleanup', 'unqueue', 'kept')
if not record then return -3 end
local queue = queue_key(KEYS[2], record[2])
local id, state = ARGV[1], record[1]
local look = ARGV[2] == '1'
-- Of most records this is all there is to see.
if state and redis.pcall('SISMEMBER', KEYS[5], id) == 1 then return -1 end
local wrong = wrong_type(queue, 'list', KEYS[3], 'zset', KEYS[4], 'list', KEYS[5], 'set',
  KEYS[6], 'zset')
if wrong then return wrong end

if not state then return 0 end
if state == 'WAIT' or state == 'RETRY' then
  if redis.call('ZSCORE', KEYS[3], id) or redis.call('LPOS', queue, id) then return -1 end
  if not look then
    local name = queue_name(record[2])
    if is_unqueued(record[5], name) then write_unqueue(KEYS[1], unqueue_without(record[5], name)) end
    redis.call('RPUSH', queue, id)
  end
  return 1
end
if state == 'RUNNING' or state == 'STOPPED' or record[4] == 'false' then
  if not look then redis.call('SADD', KEYS[5], id) end
  return 1
end
if record[3] or record[6] or redis.call('ZSCORE', KEYS[6], id) or redis.call('LPOS', KEYS[4], id) then
  return -1
end
if not look then
  redis.call('HSET', KEYS[1], 'end_entry', '1')
  redis.call('LPUSH', KEYS[4], id)
end
return 1
