#!lua flags=allow-oom
-- give_back: claim list -> the queue it was taken from
-- Return IDs a worker popped but never claimed, in their old order and to be taken next.
--
-- Called by the worker itself when it has no room for them, and by a Monitor for a dead worker.
--
-- KEYS[1] claims (hash)  KEYS[2 ..] for each queue: claim list (list), queue (list)
-- ARGV[1] worker  ARGV[2] '1' to forget its last claim too: it will not ask again
--
-- Returns how many IDs were returned
--
--- @include "key_types"

local wrong = wrong_type(KEYS[1], 'hash')
for i = 2, #KEYS do wrong = wrong or wrong_type(KEYS[i], 'list') end
if wrong then return wrong end

local returned = 0
for i = 2, #KEYS, 2 do
  for _, id in ipairs(redis.call('LRANGE', KEYS[i], 0, -1)) do
    redis.call('RPUSH', KEYS[i + 1], id)
    returned = returned + 1
  end
  redis.call('DEL', KEYS[i])
end
if ARGV[2] == '1' then redis.call('HDEL', KEYS[1], ARGV[1]) end
return returned
