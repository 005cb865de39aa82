#!lua flags=no-writes
-- read_records: many records with one call
-- Read records, whole or some fields of each.
--
-- KEYS[1 ..] records (hashes)
-- ARGV[1 ..] fields to read; none: all
--
-- Returns a list for each record: its fields and values, or the values of the fields asked for; empty
-- if the key holds another type or, all fields being asked for, there is none

local found = {}
for i, key in ipairs(KEYS) do
  local values = #ARGV > 0 and redis.pcall('HMGET', key, unpack(ARGV)) or redis.pcall('HGETALL', key)
  if values.err then
    -- Any other error says nothing about the record.
    if not string.find(values.err, 'WRONGTYPE', 1, true) then error(values) end
    values = {}
  end
  found[i] = values
end
return found
