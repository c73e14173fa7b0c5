-- A worker says that it lives. One of its name that it is not, and whose end nobody has seen or heard of, was lost.
--
-- KEYS  what it says, the set of all workers
-- ARGV  [1] what it says, [2] how long that holds, ms, [3] its name, [4] its life, "" where that ends now in order

local before = redis.call('HGET', LIVES, ARGV[3])
if ARGV[4] == '' then
  redis.call('HDEL', LIVES, ARGV[3])
elseif before ~= ARGV[4] then
  if before and before ~= BURIED then tally('workers_lost', '', '', 1) end
  redis.call('HSET', LIVES, ARGV[3], ARGV[4])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
