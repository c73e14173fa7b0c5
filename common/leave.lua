-- One who listened to a request has gone.
--
-- KEYS  state
-- ARGV  [1] the inbox channel, [2] "1" when nobody else listens there
--
-- Returns whether (1) anybody still does, or need not.

local state = read(KEYS[1])
if not state or state.background == '1' then return 1 end
local left, alive = redis.call('HINCRBY', KEYS[1], 'listeners', -1), false
local others = {}
for inbox in string.gmatch(state.inboxes, '%S+') do
  if inbox ~= ARGV[1] or ARGV[2] ~= '1' then
    others[#others + 1] = inbox
    -- Those of a process that was killed never said that they leave.
    alive = alive or redis.call('PUBSUB', 'NUMSUB', inbox)[2] > 0
  end
end
redis.call('HSET', KEYS[1], 'inboxes', table.concat(others, ' '))
return left > 0 and alive and 1 or 0
