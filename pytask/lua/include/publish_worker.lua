-- Tell whoever follows the fleet that a worker came or went. It is a hint, as publish_queued is.
local function publish_worker(channel, event, worker)
  redis.pcall('PUBLISH', channel,
    '{"event":"' .. event .. '","worker":' .. cjson.encode(worker) .. '}')
end
