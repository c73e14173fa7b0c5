-- Another API process listens to a request from now on: what its worker says goes there.
--
-- KEYS  state
-- ARGV  the inbox channel
--
-- Returns 1, or 0 when nothing is known of the request any more.

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'inbox', ARGV[1])
return 1
