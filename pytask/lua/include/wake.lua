-- Tell the workers of a node that its own queue has something for them: they do not block on it. The
-- channel is a hint and may be forbidden: whoever hears nothing finds the task at the next look.
local function wake_node(channel, partition, queue)
  if queue and string.sub(queue, 1, 5) == 'node.' then
    redis.pcall('PUBLISH', channel .. ':' .. queue, partition)
  end
end

-- Tell all workers that a delayed task is due sooner than those they know of.
local function wake_promoters(channel, partition)
  redis.pcall('PUBLISH', channel, 'delayed:' .. partition)
end
