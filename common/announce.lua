-- A worker says that it lives.
--
-- KEYS  what it says, the set of all workers
-- ARGV  [1] what it says, [2] how long that holds, ms, [3] its name

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
