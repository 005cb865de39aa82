#!lua flags=allow-oom
-- reload: RUNNING -> RUNNING, with fresh data
-- Ask the worker that runs a task to stop it and start it again from its record.
--
-- The request carries an id, so that the owner, who may hear of it by message and by heartbeat,
-- reloads once. A stop that is pending already wins.
--
-- KEYS[1] record (hash)
-- ARGV[1] id  ARGV[2] prefix of channels  ARGV[3] request id
--
-- Returns  5 its worker was told
--          0 no such task
--         -1 not RUNNING; its next start reads fresh data anyway
--         -3 the record's key holds another type
--
--- @include "read_record"

local record = read_record(KEYS[1], 'state', 'control')
if not record then return -3 end
if not record[1] and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if record[1] ~= 'RUNNING' then return -1 end
if record[2] ~= 'stop' then
  redis.call('HSET', KEYS[1], 'control', 'reload:' .. ARGV[3])
  redis.call('PUBLISH', ARGV[2] .. ARGV[1] .. '-control', 'reload:' .. ARGV[3])
end
return 5
