-- A pool of permits is a zset: who holds one -> until when, by the server's clock. A holder is
-- written `token id`. A permit that was handed to a waiting task, which has yet to come for it, is
-- written ` id`, without a token, and counts as held, so that nobody overtakes those who wait.

-- Drop the holders whose time is over; the first thing every script does with a pool.
local function drop_expired(permits, time)
  redis.call('ZREMRANGEBYSCORE', permits, '-inf', stamp(time))
end

-- Let a pool vanish with its last holder, whether anybody comes back to it or not.
local function keep_until_last(permits)
  local last = redis.call('ZRANGE', permits, -1, -1, 'WITHSCORES')
  if last[2] then redis.call('PEXPIREAT', permits, math.ceil(tonumber(last[2]) * 1000) + 1000) end
end

-- Hand free permits to those who wait, in their order, and append their ids to `called`. Whoever is
-- waiting is written `limit id`: a task may have a limit of its own, and does not hold up those
-- behind it that have a higher one.
local function call_waiting(permits, waiting, time, seconds, called)
  local first = redis.call('ZRANGE', waiting, 0, 0)[1]
  if not first then return end
  local held, before = redis.call('ZCARD', permits), #called
  local room = math.max(0, (tonumber(string.match(first, '^%d+')) or 0) - held)
  local entries = redis.call('ZRANGE', waiting, 0, math.min(room + 50, 1000))
  for _, entry in ipairs(entries) do
    local limit, id = string.match(entry, '^(%d+) (.+)$')
    if not id then
      redis.call('ZREM', waiting, entry)
    elseif held < tonumber(limit) then
      -- Who entered twice, because a reply was lost, may have been called before.
      redis.call('ZREM', waiting, entry)
      held = held + redis.call('ZADD', permits, stamp(time + seconds), ' ' .. id)
      table.insert(called, id)
    end
  end
  if #called > before then keep_until_last(permits) end
end
