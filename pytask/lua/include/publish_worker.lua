-- Tell whoever follows the fleet that a worker came or went.
local function publish_worker(channel, event, worker)
  redis.pcall('PUBLISH', channel,
    '{"event":"' .. event .. '","worker":' .. cjson.encode(worker) .. '}')
end
