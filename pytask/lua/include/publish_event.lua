-- Tell whoever watches the task, in the format its data are in: JSON, or MessagePack behind the byte
-- 193. data, and what was raised if that is given, are never decoded here: Lua would mangle large
-- numbers and empty lists. What was raised is JSON, and so are the data beside it.
local function publish_event(channel_prefix, id, event, data, raised)
  local message
  if string.byte(data) == 193 then
    -- A map of two entries with short texts as names; the name of an event is shorter than 32 bytes.
    message = '\193\130\165event' .. string.char(160 + #event) .. event .. '\164data' ..
      string.sub(data, 2)
  else
    message = '{"event":"' .. event .. '","data":' .. data ..
      (raised and ',"error":' .. raised or '') .. '}'
  end
  redis.call('PUBLISH', channel_prefix .. id, message)
end
