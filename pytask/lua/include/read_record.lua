-- The named fields of a record as a list with false for the absent ones; nil if the key holds
-- another type than a hash. Any other error ends the script: in a hash slot that is on its way to
-- another node a record may be out of reach, which says nothing about its type.
local function read_record(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if not values.err then return values end
  if not string.find(values.err, 'WRONGTYPE', 1, true) then error(values) end
  return nil
end
