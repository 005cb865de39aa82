-- The list a record waits in: the default new queue, or the named one beside it.
local function queue_key(new_queue, queue)
  if queue and queue ~= '' and queue ~= 'default' then return new_queue .. ':' .. queue end
  return new_queue
end
