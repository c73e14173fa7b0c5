-- An API key opens nothing from now on; tells the API processes of it.
--
-- KEYS  keys by id; ids by name
-- ARGV  [1] id, [2] the encoded key, [3] name ("" for none), [4] channel
--
-- Its name is free for another one, unless that has it already.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('HGET', KEYS[2], ARGV[3]) == ARGV[1] then redis.call('HDEL', KEYS[2], ARGV[3]) end
redis.call('PUBLISH', ARGV[4], ARGV[1])
