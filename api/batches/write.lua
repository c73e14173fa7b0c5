-- The process that runs a batch writes down how far it is: only the one that took it last, and only while the batch is in
-- a status that the process knows of.
--
-- KEYS  state, the set of batches that are not over
-- ARGV  [1] the caller's term, [2] statuses the batch may be in, blanks around each, [3] the batch's id where it is over
--       with this, else "", [4] how long it is kept then, ms, then field, value, ...
--
-- Returns the status the batch has now, or "" where somebody else has taken it, or it is gone.

local found = redis.call('HMGET', KEYS[1], 'term', 'status')
if found[1] ~= ARGV[1] then return '' end
if not string.find(ARGV[2], ' ' .. found[2] .. ' ', 1, true) then return found[2] end
for at = 5, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
if ARGV[3] ~= '' then
  redis.call('SREM', KEYS[2], ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return redis.call('HGET', KEYS[1], 'status')
