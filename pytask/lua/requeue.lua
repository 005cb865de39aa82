#!lua flags=allow-oom
-- requeue: RUNNING -> WAIT
-- Give runs back, to be taken next by any worker; only the owner of a run may.
--
-- A task that was told to stop meanwhile is STOPPED instead, and a local task, bound to the worker
-- that goes, is removed.
--
-- A run that a limit holds back has not begun: its claim does not count as an attempt, and its task
-- waits in the delayed set. When it is due there matters little, for it is called when its turn comes;
-- but what is due together is dealt with together, so that thousands cost a few calls now and then.
-- `held` remembers the due time, by which promote knows that the task may be called before.
--
-- KEYS[1] tasks (set)  KEYS[2] leases (zset)  KEYS[3] default new queue (list)  KEYS[4] delayed (zset)
-- KEYS[5 ..] record (hash) of each run
-- ARGV[1] prefix of channels, then id, token, seconds it is held back ('' = not), for each run
--
-- Returns a list with a code for each run:
--          1 waiting again, or stopped
--          3 removed, it was local
--          2 given back by this run before
--          0 no such task
--         -1 not RUNNING
--         -2 another run owns it
--         -3 the record's key holds another type
--
--- @include "clock"
--- @include "key_types"
--- @include "read_record"
--- @include "check_token"
--- @include "queue_key"
--- @include "publish_event"

local wrong = wrong_type(KEYS[1], 'set', KEYS[2], 'zset', KEYS[3], 'list', KEYS[4], 'zset')
if wrong then return wrong end

-- Not the bare token: a finish by the same run must not take this for its own repeat.
local function mark(token)
  return token .. '/requeue'
end

local codes, records, queues, seen = {}, {}, {}, {}
for i = 1, #KEYS - 4 do
  local record = read_record(KEYS[4 + i], 'state', 'run', 'done_run', 'queue', 'control', 'local',
    'attempts')
  local token = ARGV[3 * i]
  codes[i] = record and check_token(record[1], record[2], record[3], token, mark(token)) or -3
  if codes[i] == 1 then
    if seen[token] then codes[i] = 2 end
    seen[token] = true
    records[i] = record
    queues[i] = queue_key(KEYS[3], record[4])
    wrong = wrong or wrong_type(queues[i], 'list')
  end
end
if wrong then return wrong end

local time = now()
local at = stamp(time)
-- Seconds between the moments at which tasks that were held back come due.
local apart = 5
for i = 1, #codes do
  if codes[i] == 1 then
    local id, token, key, record = ARGV[3 * i - 1], ARGV[3 * i], KEYS[4 + i], records[i]
    local held_back = tonumber(ARGV[3 * i + 1])
    redis.call('ZREM', KEYS[2], id)
    if record[6] == 'true' then
      redis.call('DEL', key)
      redis.call('SREM', KEYS[1], id)
      codes[i] = 3
      publish_event(ARGV[1], id, 'removed', 'null')
    elseif record[5] == 'stop' then
      redis.call('HSET', key, 'state', 'STOPPED', 'ended', at, 'done_run', mark(token))
      redis.call('HDEL', key, 'run', 'worker', 'control')
      publish_event(ARGV[1], id, 'stopped', 'null')
    else
      redis.call('HSET', key, 'state', 'WAIT', 'last_update', at, 'done_run', mark(token))
      redis.call('HDEL', key, 'run', 'worker', 'control', 'started')
      redis.call('SREM', KEYS[1], id)
      if held_back then
        local due = stamp(math.ceil((time + held_back) / apart) * apart)
        local attempts = (tonumber(record[7]) or 1) - 1
        redis.call('HSET', key, 'held', due, 'attempts', string.format('%d', math.max(0, attempts)))
        redis.call('ZADD', KEYS[4], due, id)
        publish_event(ARGV[1], id, 'held', 'null')
      else
        redis.call('RPUSH', queues[i], id)
        publish_event(ARGV[1], id, 'requeued', 'null')
      end
    end
  end
end
return codes
