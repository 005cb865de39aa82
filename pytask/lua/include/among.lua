-- Which of these keys exist? Returns a function that says so for one of them; nil if none does. Nobody
-- is asked any more once all that exist are found: with one task alone that is at once.
local function among(...)
  local left = redis.call('EXISTS', ...)
  return left > 0 and function(key)
    local found = left > 0 and redis.call('EXISTS', key) or 0
    left = left - found
    return found > 0
  end or nil
end
