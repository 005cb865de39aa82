#!lua flags=allow-oom
-- remove: any state but RUNNING -> (none)
-- Forget a task. A running one only by force; its worker then finds its lease lost and stops it.
--
-- The one script that reads whole lists: a removed ID that stayed in one would look like an ID whose
-- record is still to come.
--
-- KEYS[1] record (hash)  KEYS[2] tasks (set)  KEYS[3] leases (zset)  KEYS[4] failed (zset)
-- KEYS[5] delayed (zset)  KEYS[6] default new queue (list)  KEYS[7] end queue (list)
-- ARGV[1] id  ARGV[2] '1' to remove a running task too  ARGV[3] prefix of channels
-- ARGV[4] '1' to remove only what is listed as failed, and not what somebody has retried meanwhile
--
-- Returns  1 removed
--          0 no such task
--         -1 running, or not failed
--         -3 the record's key holds another type
--
--- @include "key_types"
--- @include "read_record"
--- @include "queue_key"
--- @include "publish_event"

local record = read_record(KEYS[1], 'state', 'queue', 'unqueue', 'end_entry')
if not record then return -3 end
local queue = queue_key(KEYS[6], record[2])
local wrong = wrong_type(KEYS[2], 'set', KEYS[3], 'zset', KEYS[4], 'zset', KEYS[5], 'zset',
  queue, 'list', KEYS[7], 'list')
local lists = {}
for name in string.gmatch(record[3] or '', '[^ ]+') do
  table.insert(lists, queue_key(KEYS[6], name))
  wrong = wrong or wrong_type(lists[#lists], 'list')
end
if wrong then return wrong end
local exists = redis.call('EXISTS', KEYS[1])
if ARGV[4] == '1' and not redis.call('ZSCORE', KEYS[4], ARGV[1]) then return -1 end
local state = record[1]
if state == 'RUNNING' and ARGV[2] ~= '1' then return -1 end

redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
for i = 3, 5 do redis.call('ZREM', KEYS[i], ARGV[1]) end
if not state or state == '' or state == 'WAIT' or state == 'RETRY' then table.insert(lists, queue) end
for _, list in ipairs(lists) do redis.call('LREM', list, 0, ARGV[1]) end
if record[4] == '1' then redis.call('LREM', KEYS[7], 0, ARGV[1]) end
if exists == 1 then publish_event(ARGV[3], ARGV[1], 'removed', 'null') end
return exists
