-- Ends a request from outside its worker: fences whoever still writes, journals the last event, tells the inbox.
--
-- KEYS  state, journal, lease
-- ARGV  [1] payload of the last event, [2] how long an ended request is kept, ms, [3] the attempt the caller saw, or ""
--
-- Returns the index the event got, or -1 when the request had ended, or somebody has taken it since.

local state = redis.call('HMGET', KEYS[1], 'attempt', 'inbox', 'done', 'id')
if not state[1] or state[3] then return -1 end
if ARGV[3] ~= '' and ARGV[3] ~= state[1] then return -1 end
redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSET', KEYS[1], 'done', '1')
local index = redis.call('XLEN', KEYS[2])
redis.call('XADD', KEYS[2], (index + 1) .. '-0', 'e', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3])
if state[2] then redis.call('PUBLISH', state[2], state[4] .. ' ' .. index .. ' ' .. ARGV[1]) end
return index
