#!lua flags=allow-oom
-- give_back: claim list -> the queue it was taken from
-- Return IDs a worker popped but never claimed, in their old order and to be taken next.
--
-- Called by the worker itself when it has no room for them, and by a Monitor for a dead worker.
--
-- KEYS[1] claims (hash)  KEYS[2] claim list of its Cleanup (list)  KEYS[3] end queue (list)
-- KEYS[4 ..] for each queue: claim list (list), queue (list)
-- ARGV[1] worker  ARGV[2] '1' to forget its last claims too: it will not ask again
-- ARGV[3] prefix of records  ARGV[4] '1' to leave alone what its Cleanup holds and is dealing with
--
-- Returns how many IDs were returned
--
--- @include "key_types"
--- @include "read_record"

local wrong = wrong_type(KEYS[1], 'hash')
for i = 2, #KEYS do wrong = wrong or wrong_type(KEYS[i], 'list') end
if wrong then return wrong end

local first = ARGV[4] == '1' and 4 or 2

-- A task that ends again must know that an entry stands in the end queue already; one that has ended
-- again since it was held may have its entry there, or be held twice.
local ends, marks, seen = {}, {}, {}
if first == 2 then
  for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    local record = not seen[id] and read_record(ARGV[3] .. id, 'state')
    seen[id] = true
    if record and record[1] then
      table.insert(marks, ARGV[3] .. id)
      if not redis.call('LPOS', KEYS[3], id) then table.insert(ends, id) end
    end
  end
end

local returned = #ends
for _, id in ipairs(ends) do redis.call('RPUSH', KEYS[3], id) end
for _, key in ipairs(marks) do
  redis.call('HSET', key, 'end_entry', '1')
  redis.call('HDEL', key, 'end_claim')
end
if first == 2 then redis.call('DEL', KEYS[2]) end
for i = 4, #KEYS, 2 do
  for _, id in ipairs(redis.call('LRANGE', KEYS[i], 0, -1)) do
    redis.call('RPUSH', KEYS[i + 1], id)
    returned = returned + 1
  end
  redis.call('DEL', KEYS[i])
end
for _, claimant in ipairs(ARGV[2] == '1' and redis.call('HKEYS', KEYS[1]) or {}) do
  -- Its claimer bears its name alone, its waiters that of their queue as well.
  if string.find(claimant .. ' ', ARGV[1] .. ' ', 1, true) == 1 then
    redis.call('HDEL', KEYS[1], claimant)
  end
end
return returned
