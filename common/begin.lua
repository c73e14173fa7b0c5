-- A suspect's turn has come (take.lua): should this worker be lost now, it is to blame.
--
-- KEYS  state
-- ARGV  the attempt

if redis.call('HGET', KEYS[1], 'attempt') == ARGV[1] then redis.call('HDEL', KEYS[1], 'unbegun') end
