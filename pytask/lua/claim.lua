#!lua
-- claim: WAIT, due RETRY, no state -> RUNNING; expired -> REVOKED
-- Take waiting IDs off the new queues and make the worker their owner.
--
-- Eligible is an ID whose record exists and
--   * has the state WAIT, RETRY or none, or
--   * is STOPPED and was pushed again by hand,
--   * is not named in the record's `unqueue`, by which a stop says that the entry is void,
--   * and has been started before or has not expired.
-- Taken first is what a blocking pop left in the worker's own claim list, then what was set aside,
-- then the queue, for one queue after the other: the most urgent first. An ID without a record is set
-- aside for a grace, because a person may push the ID before writing the record. Of a paused queue
-- nothing is taken: what a blocking pop left of it goes back, to the place it had.
--
-- The last claim of each claimant is remembered under its request id, so that a claim whose reply was
-- lost is answered again instead of stranding a batch until its leases run out.
--
-- KEYS[1] claims (hash)  KEYS[2] tasks (set)  KEYS[3] leases (zset)  KEYS[4] end queue (list)
-- KEYS[5] paused (set)
-- KEYS[6 ..] for each queue: new queue (list), claim list of the worker (list), missing (zset)
-- ARGV[1] worker  ARGV[2] request id  ARGV[3] prefix of records  ARGV[4] prefix of channels
-- ARGV[5] most tasks to take  ARGV[6] grace for IDs without a record, in seconds  ARGV[7] the queue at
-- which the claimant waits, '' for the claimer itself  ARGV[8] '1' if it does not wait now, but repeats
-- ARGV[9 ..] name of each queue
--
-- Returns {more, set aside, claimed, rejected, paused}:
--   more       1 if the scan ended at its bound: call again at once
--   set aside  how many IDs wait for their record
--   claimed    id, token, task, data, attempts, policy, for each task; policy is '' or retries so far,
--              a space, and what was decided otherwise for it (JSON object)
--   rejected   id, reason, for each ID that was dropped
--   paused     the names of those of the queues that are
--
--- @include "clock"
--- @include "key_types"
--- @include "read_key"
--- @include "among"
--- @include "last_claim"
--- @include "read_record"
--- @include "publish_event"
--- @include "end_task"
--- @include "unqueue"

local worker, request, prefix, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, grace, scan_bound = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[5]) + 200
local is_repeat = ARGV[8] == '1'

local function token_of(attempts, index)
  return string.format('%d-%s%03x', attempts, request, index)
end

local function policy_of(overrides, retries)
  if not overrides and not retries then return '' end
  return (retries or '0') .. ' ' .. (overrides or '')
end

-- The same request again: give the same answer, less what was taken away meanwhile.
local function repeated(ids)
  local claimed = {}
  for i, id in ipairs(ids) do
    local record = read_record(prefix .. id, 'run', 'task', 'data', 'attempts', 'state', 'policy',
      'retries')
    local attempts = record and tonumber(record[4]) or 0
    if record and record[5] == 'RUNNING' and record[1] == token_of(attempts, i) then
      for _, value in ipairs({id, record[1], record[2] or '', record[3] or '', attempts,
          policy_of(record[6], record[7])}) do
        table.insert(claimed, value)
      end
    end
  end
  return {0, 0, claimed, {}, {}}
end

local claimant = worker .. (ARGV[7] ~= '' and ' ' .. ARGV[7] or '')
local got_before = read_last_claim(KEYS[1], claimant, request, ARGV[7] ~= '')
if foreign then return foreign end
if got_before then return repeated(got_before) end

-- An idle worker asks all the time: one command says that there is nothing, in any of the queues.
local is_there = among(unpack(KEYS, 5))
if not is_there then
  if is_repeat then write_last_claim(KEYS[1], claimant, request, {}) end
  return {0, 0, {}, {}, {}}
end

-- Pass 1: read every candidate and decide, write nothing.
local time = now()
local takes, expired, rejected, aside, unaside = {}, {}, {}, {}, {}
local records, unqueued, decided = {}, {}, {}
local trims, more, scanned, set_aside, bytes = {}, 0, 0, 0, 0
-- A reply of large data is cut short rather than stop Redis, and the worker, for seconds.
local most_bytes = 8000000

local function may_take()
  return #takes < limit and bytes < most_bytes
end

local function reject(id, reason)
  table.insert(rejected, id)
  table.insert(rejected, reason)
end

local function without_record(id, missing_key, first_seen)
  if first_seen and time - first_seen >= grace then return false end
  set_aside = set_aside + 1
  if not first_seen then table.insert(aside, {missing_key, id}) end
  return true
end

-- Whether a stop left this very entry behind; each name in `unqueue` stands for one entry.
local function drop_void(id, queue, record)
  if unqueued[id] == nil then unqueued[id] = record and record[7] or '' end
  if not is_unqueued(unqueued[id], queue) then return false end
  unqueued[id] = unqueue_without(unqueued[id], queue) or ''
  return true
end

local function decide(id, queue, missing_key, first_seen)
  local key = prefix .. id
  local record = records[id]
  if record == nil then
    record = read_record(key, 'state', 'task', 'data', 'attempts', 'cleanup', 'expires',
      'unqueue', 'end_entry', 'local', 'policy', 'retries') or false
    records[id] = record
  end
  if drop_void(id, queue, record) then
    reject(id, 'stopped')
    if first_seen then table.insert(unaside, {missing_key, id}) end
    return
  end
  if decided[id] then
    if not first_seen then reject(id, 'duplicate') end
    return
  end
  decided[id] = true
  if not record then
    reject(id, 'type')
  elseif not record[2] and without_record(id, missing_key, first_seen) then
    return
  elseif not record[2] and redis.call('EXISTS', key) == 0 then
    reject(id, 'missing')
  elseif record[1] and record[1] ~= '' and record[1] ~= 'WAIT' and record[1] ~= 'RETRY' and
      record[1] ~= 'STOPPED' then
    reject(id, 'duplicate')
  elseif (tonumber(record[6]) or math.huge) <= time and (tonumber(record[4]) or 0) == 0 then
    table.insert(expired, {id, record})
    reject(id, 'expired')
  else
    table.insert(takes, {id, record})
    bytes = bytes + #(record[3] or '')
  end
  if first_seen then table.insert(unaside, {missing_key, id}) end
end

local function scan_list(list, queue, missing_key)
  local examined, all = 0, false
  while not all and may_take() and scanned < scan_bound do
    local room = math.min(limit - #takes, scan_bound - scanned)
    local ids = read_key('list', 'LRANGE', list, -(examined + room), -(examined + 1))
    local at = #ids
    while at > 0 and bytes < most_bytes do
      decide(ids[at], queue, missing_key, nil)
      at = at - 1
    end
    examined = examined + #ids - at
    scanned = scanned + #ids - at
    all = #ids < room and at == 0
  end
  if examined > 0 then table.insert(trims, {list, examined}) end
  if not all and #takes < limit then more = 1 end
end

local there, is_paused, paused, returns = {}, {}, {}, {}
for i = 6, #KEYS, 3 do
  for _, key in ipairs({KEYS[i + 1], KEYS[i], KEYS[i + 2]}) do there[key] = is_there(key) end
end
if is_there(KEYS[5]) then
  for _, queue in ipairs(read_key('set', 'SMEMBERS', KEYS[5])) do is_paused[queue] = true end
end
for i = 6, #KEYS, 3 do
  local queue, own, missing = ARGV[9 + (i - 6) / 3], KEYS[i + 1], KEYS[i + 2]
  if is_paused[queue] then
    table.insert(paused, queue)
    local popped = there[own] and read_key('list', 'LRANGE', own, 0, -1) or {}
    if #popped > 0 then table.insert(returns, {own, KEYS[i], popped}) end
  else
    if there[own] then scan_list(own, queue, missing) end
    local waiting = there[missing] and read_key('zset', 'ZRANGE', missing, 0, 99, 'WITHSCORES') or {}
    for j = 1, #waiting, 2 do
      if may_take() then decide(waiting[j], queue, missing, tonumber(waiting[j + 1])) end
    end
    if there[KEYS[i]] then scan_list(KEYS[i], queue, missing) end
  end
end
for _, entry in ipairs(returns) do foreign = foreign or wrong_type(entry[2], 'list') end
if #takes + #expired > 0 then foreign = foreign or wrong_type(KEYS[2], 'set', KEYS[3], 'zset') end
if #expired > 0 then foreign = foreign or wrong_type(KEYS[4], 'list') end
if foreign then return foreign end

-- Pass 2: write; nothing below can fail.
for _, entry in ipairs(returns) do
  for _, id in ipairs(entry[3]) do redis.call('RPUSH', entry[2], id) end
  redis.call('DEL', entry[1])
end
for _, trim in ipairs(trims) do redis.call('LTRIM', trim[1], 0, -(trim[2] + 1)) end
for _, entry in ipairs(aside) do redis.call('ZADD', entry[1], 'NX', stamp(time), entry[2]) end
for _, entry in ipairs(unaside) do redis.call('ZREM', entry[1], entry[2]) end
for id, names in pairs(unqueued) do
  if records[id] and names ~= (records[id][7] or '') then
    write_unqueue(prefix .. id, names ~= '' and names)
  end
end
for _, entry in ipairs(expired) do
  local id, record = entry[1], entry[2]
  redis.call('HSET', prefix .. id, 'state', 'REVOKED', 'ended', stamp(time), 'output',
    '"expired before it was started"', 'done_run', 'expired-' .. request)
  end_task(KEYS[2], KEYS[4], prefix .. id, id, record[5], record[8])
  publish_event(channel, id, 'revoked', '"expired before it was started"')
end

local claimed, ids, leases = {}, {}, {}
local at = stamp(time)
for i, take in ipairs(takes) do
  local id, record = take[1], take[2]
  local attempts = (tonumber(record[4]) or 0) + 1
  local token = token_of(attempts, i)
  local key = prefix .. id
  redis.call('HSET', key, 'state', 'RUNNING', 'run', token, 'worker', worker, 'attempts', attempts,
    'started', at, 'last_update', at)
  if record[1] == 'STOPPED' or record[1] == 'RETRY' then
    redis.call('HDEL', key, 'output', 'ended', 'error')
  end
  -- A local task that is claimed was restarted: any worker may have it, none is bound to it now.
  if record[9] then redis.call('HDEL', key, 'local') end
  ids[i] = id
  leases[2 * i - 1] = at
  leases[2 * i] = id
  local n = #claimed
  claimed[n + 1], claimed[n + 2], claimed[n + 3] = id, token, record[2] or ''
  claimed[n + 4], claimed[n + 5] = record[3] or '', attempts
  claimed[n + 6] = policy_of(record[10], record[11])
  publish_event(channel, id, 'started', '{"attempt":' .. attempts .. '}')
end
if #ids > 0 then
  redis.call('SADD', KEYS[2], unpack(ids))
  redis.call('ZADD', KEYS[3], unpack(leases))
end
if #ids > 0 or is_repeat then write_last_claim(KEYS[1], claimant, request, ids) end
return {more, set_aside, claimed, rejected, paused}
