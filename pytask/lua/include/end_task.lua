-- Where a task that no run owns any more goes when it ends: to the end queue for Cleanup, or, kept
-- by cleanup=false, into the task set. An entry that stands in the end queue already (of a task that
-- was restarted since) is not doubled.
local function end_task(tasks, end_queue, key, id, cleanup, end_entry)
  if cleanup == 'false' then
    redis.call('SADD', tasks, id)
    return
  end
  redis.call('SREM', tasks, id)
  redis.call('HSET', key, 'end_entry', '1')
  if end_entry ~= '1' then redis.call('LPUSH', end_queue, id) end
end
