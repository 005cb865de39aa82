-- The named fields of a record as a list with false for the absent ones; nil if the key holds
-- another type than a hash.
local function read_record(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if values.err then return nil end
  return values
end
