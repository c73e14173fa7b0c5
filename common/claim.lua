-- A worker takes a request whose ticket it popped: at most one holds it, and each taking is a new attempt.
--
-- KEYS  state, journal, lease, cancel
-- ARGV  [1] worker, [2] lease in ms, [3] how many workers a request may cost
--
-- Returns {outcome, attempt, next event index, inbox}; outcome is
--   claimed    the caller is now the only writer, and goes on at that index
--   held       another worker runs it: a duplicate delivery
--   ended      nothing is left to do: it ended, or its state has expired
--   cancelled  nobody wants it any more
--   crashed    so many workers were lost while they ran it that it is not tried again
--
-- A lease that is gone though nobody gave the request back (hand_back.lua) is a worker lost.

local state = redis.call('HMGET', KEYS[1], 'attempt', 'done', 'inbox', 'free')
if not state[1] or state[2] then return {'ended', 0, 0, ''} end
if redis.call('EXISTS', KEYS[3]) == 1 then return {'held', tonumber(state[1]), 0, ''} end
local lost = tonumber(redis.call('HGET', KEYS[1], 'lost') or '0')
if tonumber(state[1]) > 0 and not state[4] then lost = redis.call('HINCRBY', KEYS[1], 'lost', 1) end
redis.call('HDEL', KEYS[1], 'free')
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('SET', KEYS[3], ARGV[1] .. '/' .. attempt, 'PX', ARGV[2])
local events = redis.call('XLEN', KEYS[2])
local outcome = 'claimed'
if lost >= tonumber(ARGV[3]) then outcome = 'crashed' end
if redis.call('EXISTS', KEYS[4]) == 1 then outcome = 'cancelled' end
return {outcome, attempt, events, state[3]}
