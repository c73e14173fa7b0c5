-- Where a request stands.
--
-- KEYS  state
--
-- Returns {how many go before it, or -1 when it does not wait; how many wait in its lane; ms between two takings, or -1;
-- the lane}.

local found = redis.call('HMGET', KEYS[1], 'lane', 'id')
if not found[1] then return {-1, 0, -1, ''} end
local room = ROOM .. found[1]
return {redis.call('ZRANK', room, found[2]) or -1, redis.call('ZCARD', room),
        math.floor(pace_of(found[1], milliseconds()) or -1), found[1]}
