-- Keys carry a hash tag on a cluster only: whoever finds none need not care for slots that move.
local may_move = string.find(KEYS[1], '{', 1, true)

-- An error reply naming the first key that holds another type than pytask keeps there, or nil.
-- Takes key, type, key, type, … and runs before the first write, because Lua does not roll back.
-- A list that is not named to the script beforehand may still stand on the node its slot comes from:
-- a second one must not be begun here, so absence is asked for in the way read_record does.
local function wrong_type(...)
  local expected = {...}
  for i = 1, #expected, 2 do
    local found = redis.call('TYPE', expected[i]).ok
    if found == 'none' then
      if may_move then redis.call('EXISTS', expected[i], KEYS[1]) end
    elseif found ~= expected[i + 1] then
      return redis.error_reply('WRONGTYPE key ' .. expected[i] .. ' holds a ' .. found ..
        ' where pytask keeps a ' .. expected[i + 1] .. '; rename or delete it')
    end
  end
  return nil
end

-- While a slot moves away, a key that is absent is out of reach, and one a script has just emptied is
-- absent. So a key that never exists is asked for once, before all else: where that fails, nothing is
-- begun.
if may_move then redis.call('EXISTS', KEYS[1] .. ':\1') end
