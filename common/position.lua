-- Where a request stands.
--
-- KEYS  state
--
-- Returns {how many go before it, or -1 when it does not wait; how many wait in its lane; ms between two takings, or -1;
-- the lane; how many tickets nobody has popped there; how many times it was taken}.

local found = redis.call('HMGET', KEYS[1], 'lane', 'id', 'attempt')
local room = found[1] and ROOM .. found[1]
local before = room and redis.call('ZRANK', room, found[2])
if not before then return {-1, 0, -1, '', 0, 0} end
return {before, redis.call('ZCARD', room), math.floor(pace_of(found[1], milliseconds()) or -1), found[1],
        redis.call('LLEN', found[1]), tonumber(found[3])}
