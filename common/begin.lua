-- A suspect's turn has come (take.lua): should this worker be lost now, it is to blame.
--
-- KEYS  state
-- ARGV  the attempt
--
-- Returns 1, or 0 when the request is somebody else's by now.

if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'unbegun')
return 1
