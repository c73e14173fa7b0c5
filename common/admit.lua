-- Registers a request unless its lane is full: the bound is checked where the queue is, so that no two callers share
-- the last place. The ticket itself follows through Celery.
--
-- KEYS  state; lane (Celery's list of waiting tickets)
-- ARGV  [1] request id, [2] inbox channel, [3] bound, [4] lifetime in ms
--
-- Returns how many wait before it, or -1 - waiting when the lane is full.

local waiting = redis.call('LLEN', KEYS[2])
if waiting >= tonumber(ARGV[3]) then return -1 - waiting end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'attempt', 0, 'inbox', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return waiting
