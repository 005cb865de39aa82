-- The named fields of a record as a list with false for the absent ones; nil if the key holds
-- another type than a hash. Any other error ends the script: in a hash slot that is on its way to
-- another node a record may be out of reach, which says nothing about its type.
--
-- The node such a slot is on its way to takes what it has not got yet for absent, without an error,
-- if one key is asked for. Asked for two it says so: hence the second question, where keys carry a
-- hash tag, as they do on a cluster.
local function read_record(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if values.err then
    if not string.find(values.err, 'WRONGTYPE', 1, true) then error(values) end
    return nil
  end
  for _, value in ipairs(values) do
    if value then return values end
  end
  if string.find(key, '{', 1, true) then redis.call('EXISTS', key, KEYS[1]) end
  return values
end
