-- Tell whoever watches the task. data is JSON already and is never decoded here: Lua would
-- mangle large numbers and empty lists.
local function publish_event(channel_prefix, id, event, data)
  redis.call('PUBLISH', channel_prefix .. id,
    '{"event":"' .. event .. '","data":' .. data .. '}')
end
