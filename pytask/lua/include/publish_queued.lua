-- Tell whoever follows the fleet which tasks have come into their queues: one message for a queue,
-- because one for each task would cost the server a fifth of what it takes to enqueue it. It is a hint:
-- a user whom an older ACL does not allow to publish there must not be kept from starting tasks.
local function publish_queued(channel, ids)
  if #ids == 0 then return end
  local text = table.concat(ids)
  -- Nearly always nothing has to be escaped, and cjson looks at each byte.
  if string.find(text, '"', 1, true) or string.find(text, '\\', 1, true) then
    text = cjson.encode({unpack(ids)})
  else
    text = '["' .. table.concat(ids, '","') .. '"]'
  end
  redis.pcall('PUBLISH', channel, '{"event":"queued","tasks":' .. text .. '}')
end
