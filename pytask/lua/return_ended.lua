#!lua flags=allow-oom
-- return_ended: claim list of a Cleanup -> far end of the end queue
-- Put ended tasks back that a Cleanup could not deal with, behind all others. One that was restarted
-- and has ended again stands in the end queue already.
--
-- KEYS[1] end queue (list)  KEYS[2] claim list (list)  KEYS[3 ..] record (hash) of each task
-- ARGV id of each task
--
-- Returns how many were put back
--
--- @include "key_types"
--- @include "read_record"

local wrong = wrong_type(KEYS[1], 'list', KEYS[2], 'list')
if wrong then return wrong end
local known = {}
for i = 1, #ARGV do
  local record = read_record(KEYS[2 + i], 'state', 'end_entry')
  known[i] = record and record[1] and
    not (record[2] == '1' and redis.call('LPOS', KEYS[1], ARGV[i]))
end

local returned = 0
for i, id in ipairs(ARGV) do
  if redis.call('LREM', KEYS[2], -1, id) > 0 and known[i] then
    redis.call('HSET', KEYS[2 + i], 'end_entry', '1')
    redis.call('HDEL', KEYS[2 + i], 'end_claim')
    redis.call('LPUSH', KEYS[1], id)
    returned = returned + 1
  end
end
return returned
