#!lua flags=allow-oom
-- publish: no edge, an event of a task
-- Tell whoever watches a task. It is sent by the node that holds the record, as all other events of
-- the task are: on a cluster only messages of one node keep their order.
--
-- KEYS[1] record (hash)
-- ARGV[1] channel  ARGV[2] message
--
-- Returns 1

redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
