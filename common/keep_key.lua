-- Keeps a new API key, and tells the API processes of it.
--
-- KEYS  keys by id; ids by name
-- ARGV  [1] id, [2] the encoded key, [3] name ("" for none), [4] channel, [5] "1": only where there has never been one
--
-- Asking twice is harmless: whoever has not heard the answer is told that it was kept.
-- Returns kept; taken: a key that counts has this name; later: it would not have been the first.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 'kept' end
if ARGV[5] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then return 'later' end
if ARGV[3] ~= '' and redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[1]) == 0 then return 'taken' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 'kept'
