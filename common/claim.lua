-- A worker takes a request whose ticket it popped: at most one holds it, and each taking is a new attempt.
--
-- KEYS  state, journal, lease, cancel
-- ARGV  [1] worker, [2] lease in ms
--
-- Returns {outcome, attempt, next event index, inbox}; outcome is
--   claimed    the caller is now the only writer
--   held       another worker runs it: a duplicate delivery
--   ended      nothing is left to do: it ended, or its state has expired
--   cancelled  nobody wants it any more
--   begun      an earlier attempt wrote events and died

local state = redis.call('HMGET', KEYS[1], 'attempt', 'done', 'inbox')
if not state[1] or state[2] then return {'ended', 0, 0, ''} end
if redis.call('EXISTS', KEYS[3]) == 1 then return {'held', tonumber(state[1]), 0, ''} end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('SET', KEYS[3], ARGV[1] .. '/' .. attempt, 'PX', ARGV[2])
local events = redis.call('XLEN', KEYS[2])
if redis.call('EXISTS', KEYS[4]) == 1 then return {'cancelled', attempt, events, state[3]} end
if events > 0 then return {'begun', attempt, events, state[3]} end
return {'claimed', attempt, 0, state[3]}
