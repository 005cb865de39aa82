-- The name of the queue a record waits in, and the list of that queue: the default new queue, or the
-- named one beside it.
local function queue_name(queue)
  return queue and queue ~= '' and queue or 'default'
end

local function queue_key(new_queue, queue)
  queue = queue_name(queue)
  return queue == 'default' and new_queue or new_queue .. ':' .. queue
end
