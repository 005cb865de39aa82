#!lua flags=allow-oom
-- forget_failed: ERROR, EXCEPTION, REVOKED kept longer than the retention -> (none)
-- Delete dead letters that nobody came for.
--
-- KEYS[1] failed (zset)
-- ARGV[1] prefix of records  ARGV[2] retention in seconds  ARGV[3] most tasks to forget
--
-- Returns how many entries were looked at; as many as asked for: call again
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"

local wrong = wrong_type(KEYS[1], 'zset')
if wrong then return wrong end

local failed = {ERROR = true, EXCEPTION = true, REVOKED = true}
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', stamp(now() - tonumber(ARGV[2])),
  'LIMIT', 0, ARGV[3])
local forget = {}
for _, id in ipairs(ids) do
  local record = read_record(ARGV[1] .. id, 'state')
  if record and failed[record[1] or ''] then table.insert(forget, ARGV[1] .. id) end
end
if #forget > 0 then redis.call('DEL', unpack(forget)) end
if #ids > 0 then redis.call('ZREM', KEYS[1], unpack(ids)) end
return #ids
