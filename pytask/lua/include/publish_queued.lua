-- Tell whoever follows the fleet which tasks have come into their queues: one message for a call,
-- because one for each task would cost the server a fifth of what it takes to enqueue it. It is a hint:
-- a user whom an older ACL does not allow to publish there must not be kept from starting tasks.
local function publish_queued(channel, ids)
  if #ids == 0 then return end
  redis.pcall('PUBLISH', channel, '{"event":"queued","tasks":' .. cjson.encode(ids) .. '}')
end
