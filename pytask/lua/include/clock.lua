-- Seconds since the epoch on the server's clock: the only clock any script decides by.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- The form in which an instant is stored: readable by people, never in exponent notation.
local function stamp(seconds)
  return string.format('%.3f', seconds)
end
