-- Read a key that may hold another type than the expected one: that shows in the answer, so nobody
-- has to ask for its type first. Such a key reads as empty, and `foreign` is the error reply, to be
-- returned before the first write.
local foreign

local function read_key(expected, command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  foreign = foreign or wrong_type(key, expected) or reply
  return {}
end
