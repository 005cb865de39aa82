-- Test builds only: wraps a script so that all it writes is recorded in a stream of the same hash
-- slot, in the same atomic step. The order of the stream is the order of the server, so nothing
-- that is checked afterwards depends on a clock.
--
-- One entry for each task that was touched:
--   s script   i id   f, t state before and after ('-' no record, '' no state)
--   r, R token before and after   c what the caller presented as proof (token, done_run, request)
--   b, a other fields that changed, before and after   k some fields as they were before
--   q how many entries the task gained (+) or lost (-) in: n new queues, their claim lists and
--     missing sets, e end queues with claim lists, d delayed, s task set, l leases, f failed
--   x milliseconds until Redis forgets the record
--   plus what single rules need: lease age, scores, now
local audit_name, audit_real = '@NAME@', redis
local audit_tag = string.match(KEYS[1], '{[^}]*}') or ''
local audit_stream, audit_codes = 'audit' .. audit_tag, 'audit-codes' .. audit_tag
local audit_fields = {'state', 'run', 'done_run', 'attempts', 'reaps', 'worker', 'control', 'unqueue',
  'output', 'eid', 'local', 'cleanup', 'queue', 'expires', 'end_entry', 'last_update', 'task',
  'end_claim', 'created', 'retries', 'held', 'kept'}
local audit_touched, audit_order, audit_nets, audit_notes = {}, {}, {}, {}

-- A busy machine may take milliseconds between the first line of a script and the last.
local audit_began = audit_real.call('TIME')

-- Out of reach while the slot moves to another node: fail before the script writes anything.
audit_real.call('EXISTS', audit_stream)

local function audit_class(key)
  local name = string.gsub(key, '{[^}]*}', '', 1)
  if string.sub(name, 1, 5) == 'task-' then return 'record', string.sub(name, 6) end
  if name == 'tasks' then return 's' end
  if name == 'tasks:lease' then return 'l' end
  if name == 'tasks:failed' then return 'f' end
  if string.sub(name, 1, 6) == 'tasks:' then return nil end
  if name == 'new-task:delayed' then return 'd' end
  if name == 'new-task:claims' or name == 'new-task:paused' then return nil end
  if string.sub(name, 1, 8) == 'new-task' then
    return 'n', nil, string.sub(name, -8) == ':missing'
  end
  if string.sub(name, 1, 8) == 'end-task' then return 'e' end
  return nil
end

local function audit_look(key)
  local values = audit_real.pcall('HMGET', key, unpack(audit_fields))
  if values.err then
    -- A record this script has deleted is out of reach, too, while its slot moves.
    local wrong = string.find(values.err, 'WRONGTYPE', 1, true) ~= nil
    return {exists = wrong, wrong = wrong}
  end
  local look = {exists = audit_real.call('EXISTS', key) == 1}
  for i, field in ipairs(audit_fields) do look[field] = values[i] or nil end
  return look
end

local audit_prefix = 'task-' .. audit_tag

local function audit_touch(id)
  if audit_touched[id] == nil then
    audit_touched[id] = audit_look(audit_prefix .. id)
    table.insert(audit_order, id)
  end
end

local function audit_add(class, id, count)
  if count == 0 then return end
  audit_touch(id)
  local net = audit_nets[id] or {}
  audit_nets[id] = net
  net[class] = (net[class] or 0) + count
end

local function audit_note(id, name, value)
  audit_notes[id] = audit_notes[id] or {}
  audit_notes[id][name] = value
end

local function audit_members(class, key, ids, count)
  for _, id in ipairs(ids) do audit_add(class, id, count) end
end

local function audit_scored(class, key, id, count)
  local score = audit_real.call('ZSCORE', key, id)
  if (count > 0) == not score then audit_add(class, id, count) end
  if count < 0 and score then audit_note(id, class .. '_score', score) end
end

local audit_reads = {TYPE = 1, HGET = 1, HMGET = 1, HGETALL = 1, EXISTS = 1, LRANGE = 1, LLEN = 1,
  LPOS = 1, LINDEX = 1, SISMEMBER = 1, SMEMBERS = 1, SCARD = 1, ZSCORE = 1, ZCARD = 1, ZRANGE = 1,
  ZRANGEBYSCORE = 1, SSCAN = 1, TIME = 1, GET = 1, PUBLISH = 1}

-- What a command is about to change; LREM alone says only afterwards.
local function audit_before(command, key, ...)
  if audit_reads[command] then return end
  local args = {...}
  local class, id, zset = audit_class(key)
  if command == 'DEL' then
    for _, one in ipairs({key, ...}) do
      local kind, task = audit_class(one)
      if kind == 'record' then audit_touch(task)
      elseif kind == 'n' or kind == 'e' then
        audit_members(kind, one, audit_real.call('LRANGE', one, 0, -1), -1)
      end
    end
  elseif not class then return
  elseif class == 'record' then audit_touch(id)
  elseif command == 'LPUSH' or command == 'RPUSH' then audit_members(class, key, args, 1)
  elseif command == 'LTRIM' then
    if tonumber(args[1]) ~= 0 or tonumber(args[2]) >= 0 then error('audit: LTRIM of another form') end
    audit_members(class, key, audit_real.call('LRANGE', key, tonumber(args[2]) + 1, -1), -1)
  elseif command == 'SADD' or command == 'SREM' then
    for _, member in ipairs(args) do
      local there = audit_real.call('SISMEMBER', key, member) == 1
      if command == 'SADD' and not there then audit_add(class, member, 1) end
      if command == 'SREM' and there then audit_add(class, member, -1) end
    end
  elseif command == 'ZADD' then
    local first = (args[1] == 'NX' or args[1] == 'XX') and 2 or 1
    for i = first, #args, 2 do
      if args[1] ~= 'XX' then audit_scored(class, key, args[i + 1], 1) end
    end
  elseif command == 'ZREM' then
    for _, member in ipairs(args) do audit_scored(class, key, member, -1) end
  elseif command ~= 'LREM' then
    error('audit: does not know the command ' .. command)
  end
end

local function audit_after(reply, command, key, ...)
  if command ~= 'LREM' then return end
  local class = audit_class(key)
  local _, member = ...
  if class then audit_add(class, member, -reply) end
end

local redis = {
  error_reply = audit_real.error_reply, status_reply = audit_real.status_reply,
  sha1hex = audit_real.sha1hex, log = audit_real.log,
  call = function(...)
    audit_before(...)
    local reply = audit_real.call(...)
    audit_after(reply, ...)
    return reply
  end,
  pcall = function(...)
    audit_before(...)
    local reply = audit_real.pcall(...)
    if type(reply) ~= 'table' or not reply.err then audit_after(reply, ...) end
    return reply
  end,
}

local function audited()
--@SCRIPT@
end

-- What the caller presented for each task.
local function audit_proofs()
  local proofs, first, step, at = {}, nil, nil, 1
  if audit_name == 'heartbeat' then first, step = 1, 2
  elseif audit_name == 'requeue' then first, step = 2, 3
  elseif audit_name == 'finish' then first, step = 2, 5
  elseif audit_name == 'acknowledge_ended' then first, step = 3, 2
  end
  if first then
    for i = first, #ARGV, step do
      local known = proofs[ARGV[i]]
      -- The same task twice in one call: whoever is the owner counts.
      if not known or (audit_touched[ARGV[i]] or {}).run ~= known then proofs[ARGV[i]] = ARGV[i + 1] end
    end
  end
  return proofs
end

local function audit_differs(before, after)
  local was, is, found = {}, {}, false
  for _, field in ipairs(audit_fields) do
    local old, new = before[field], after[field]
    if field ~= 'state' and field ~= 'run' and field ~= 'last_update' and old ~= new then
      found = true
      was[field] = old and string.sub(old, 1, 120)
      is[field] = new and string.sub(new, 1, 120)
    end
  end
  return found, was, is
end

local function audit_state(look)
  if look.wrong then return '!' end
  return look.exists and (look.state or '') or '-'
end

local function audit_keep(entry, before, now)
  entry.k = {attempts = before.attempts, reaps = before.reaps, unqueue = before.unqueue,
    expires = before.expires, done_run = before.done_run, cleanup = before.cleanup,
    ['local'] = before['local'], control = before.control, eid = before.eid,
    queue = before.queue, worker = before.worker, retries = before.retries, held = before.held}
  entry.now = string.format('%.3f', now)
  if audit_name == 'reap' then
    entry.age = now - (tonumber(before.last_update) or 0)
    entry.timeouts = {ARGV[3], ARGV[4], ARGV[5]}
    for i = 8, #ARGV do if ARGV[i] == before.worker then entry.dead = 1 end end
  elseif audit_name == 'forget_failed' then entry.keep_failed = ARGV[2]
  elseif audit_name == 'requeue' then
    for i = #ARGV - 2, 2, -3 do
      -- Of the same run twice in one call the first counts.
      if ARGV[i] == entry.i and ARGV[i + 1] == before.run then entry.held = ARGV[i + 2] ~= '' and 1 or nil end
    end
  elseif audit_name == 'promote' then
    for i = 6, #ARGV do if ARGV[i] == entry.i then entry.called = 1 end end
  elseif audit_name == 'claim' then
    entry.w = ARGV[1]
    -- The slot may be moving away; then the script has not begun.
    if audit_real.pcall('SISMEMBER', KEYS[5], before.queue or 'default') == 1 then entry.paused = 1 end
    entry.began = string.format('%.3f', tonumber(audit_began[1]) + tonumber(audit_began[2]) / 1000000)
  elseif audit_name == 'restart' then entry.allowed = {unpack(ARGV, 4)}
  elseif audit_name == 'remove' then entry.force = ARGV[2]
  elseif audit_name == 'acknowledge_ended' then
    -- Who confirms the end, and who has been given it since, if that is another.
    local by = string.match(KEYS[1], ':claim:(.+)$')
    if before.end_claim and before.end_claim ~= by then entry.held_by = before.end_claim end
    entry.keep_results = ARGV[2]
  end
end

local function audit_flush(failed)
  local time = audit_real.call('TIME')
  local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
  local proofs = audit_proofs()
  for _, id in ipairs(audit_order) do
    local before, after = audit_touched[id], audit_look(audit_prefix .. id)
    local differs, was, is = audit_differs(before, after)
    local net, proof = audit_nets[id] or {}, proofs[id]
    local some = false
    for class, count in pairs(net) do if count == 0 then net[class] = nil else some = true end end
    local back = (tonumber(after.last_update) or 0) < (tonumber(before.last_update) or 0)
    local owner = audit_name == 'acknowledge_ended' or not proof or proof == before.run
    if differs or some or failed or (back and before.run and before.run == after.run) or not owner or
        before.exists ~= after.exists or before.state ~= after.state or before.run ~= after.run then
      local entry = {s = audit_name, i = id, f = audit_state(before), t = audit_state(after),
        r = before.run, R = after.run, c = proof, b = next(was) and was, a = next(is) and is,
        q = some and net, back = back and before.run and before.run == after.run or nil,
        failed = failed or nil}
      -- No number while the slot moves.
      local left = after.exists and audit_real.pcall('PTTL', audit_prefix .. id)
      if type(left) == 'number' and left >= 0 then entry.x = left end
      for name, value in pairs(audit_notes[id] or {}) do entry[name] = value end
      audit_keep(entry, before, now)
      audit_real.call('XADD', audit_stream, '*', 'j', cjson.encode(entry))
    end
  end
end

local function audit_count(reply)
  local codes = {}
  local function add(code) codes[code] = (codes[code] or 0) + 1 end
  if type(reply) == 'number' then add(reply)
  elseif type(reply) ~= 'table' or reply.err then return
  elseif audit_name == 'heartbeat' then
    for i = 2, #reply, 3 do add(reply[i]) end
    add('calls')
  elseif audit_name == 'finish' or audit_name == 'requeue' or audit_name == 'enqueue' or
      audit_name == 'acknowledge_ended' then
    for _, code in ipairs(reply) do add(code) end
  elseif audit_name == 'claim' then
    add(#reply[3] > 0 and (#audit_order == 0 and 'repeat' or 'some') or 'none')
    for i = 2, #reply[4], 2 do add(reply[4][i]) end
  elseif audit_name == 'reap' then
    for i = 2, #reply[2], 2 do add(reply[2][i]) end
  elseif audit_name == 'sweep' then
    for i = 2, #reply, 2 do add(reply[i]) end
  end
  for code, count in pairs(codes) do
    audit_real.call('HINCRBY', audit_codes, audit_name .. ':' .. code, count)
  end
end

local audit_done, audit_reply = pcall(audited)
audit_flush(not audit_done)
if not audit_done then error(audit_reply) end
audit_count(audit_reply)
return audit_reply
