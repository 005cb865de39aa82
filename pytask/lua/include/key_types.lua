-- An error reply naming the first key that holds another type than pytask keeps there, or nil.
-- Takes key, type, key, type, … and runs before the first write, because Lua does not roll back.
local function wrong_type(...)
  local expected = {...}
  for i = 1, #expected, 2 do
    local found = redis.call('TYPE', expected[i]).ok
    if found ~= 'none' and found ~= expected[i + 1] then
      return redis.error_reply('WRONGTYPE key ' .. expected[i] .. ' holds a ' .. found ..
        ' where pytask keeps a ' .. expected[i + 1] .. '; rename or delete it')
    end
  end
  return nil
end
