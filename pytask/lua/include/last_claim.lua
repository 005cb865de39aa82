-- The last claim of each claimant, remembered with what it got: its request may come again because the
-- reply was lost. A request of a waiter may also come late, with a wait that was given up long ago; so
-- these ascend, and one that is repeated in the meantime is remembered even if it got nothing.
--
-- Returns the IDs it got if it is the last one, an empty list if it is older, nil if it is new.
local function read_last_claim(claims, claimant, request, ascends)
  local memo = read_key('hash', 'HGET', claims, claimant)
  if not memo then return nil end
  local readable, last = pcall(cjson.decode, memo)
  if not readable or type(last) ~= 'table' or type(last[1]) ~= 'string' then return nil end
  if last[1] == request then return {unpack(last, 2)} end
  return ascends and request < last[1] and {} or nil
end

local function write_last_claim(claims, claimant, request, ids)
  redis.call('HSET', claims, claimant, cjson.encode({request, unpack(ids)}))
end
