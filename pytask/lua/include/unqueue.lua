-- The field `unqueue` names the queues, separated by spaces, in which an entry of the task stands
-- that must not start it: a stop leaves it there, because finding it would read the whole list.
-- Whoever meets the entry drops it and the name; whoever wants an entry in that queue lets it serve
-- again and drops the name only.
local function is_unqueued(names, queue)
  return names and string.find(' ' .. names .. ' ', ' ' .. queue .. ' ', 1, true) ~= nil
end

-- The names without one of them; nil when none is left.
local function unqueue_without(names, queue)
  local left = {}
  for name in string.gmatch(names or '', '[^ ]+') do
    if name ~= queue then table.insert(left, name) end
  end
  return left[1] and table.concat(left, ' ')
end

local function write_unqueue(key, names)
  if names then redis.call('HSET', key, 'unqueue', names) else redis.call('HDEL', key, 'unqueue') end
end
