-- One more who listens to a request from now on, at the same API process as others or at another.
--
-- KEYS  state, cancel
-- ARGV  the inbox channel
--
-- Returns 1, or 0 when nothing is known of the request any more, or nobody wanted it.

local state = read(KEYS[1])
if not state or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local there = false
for inbox in string.gmatch(state.inboxes, '%S+') do there = there or inbox == ARGV[1] end
redis.call('HINCRBY', KEYS[1], 'at:' .. ARGV[1], 1)
if not there then
  redis.call('HSET', KEYS[1], 'inboxes', state.inboxes == '' and ARGV[1] or state.inboxes .. ' ' .. ARGV[1])
end
redis.call('HINCRBY', KEYS[1], 'listeners', 1)
return 1
