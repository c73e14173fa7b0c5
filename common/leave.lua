-- One who listened to a request has gone.
--
-- KEYS  state
-- ARGV  [1] the inbox channel, [2] the listener
--
-- Returns whether (1) anybody still does, or need not, or may come back: a request that its caller has a word for goes on
-- for as long as its worker bears with silence. Who has gone already is not counted again.

local state = read(KEYS[1])
if not state then return 1 end
local went = redis.call('HDEL', KEYS[1], 'listener:' .. ARGV[2])
local left, alive = redis.call('HINCRBY', KEYS[1], 'listeners', 0 - went), false
-- Counted here: a process that asked itself who else listens there could be wrong by the time it says so.
local here = redis.call('HINCRBY', KEYS[1], 'at:' .. ARGV[1], 0 - went)
if here <= 0 then redis.call('HDEL', KEYS[1], 'at:' .. ARGV[1]) end
local others = {}
for inbox in string.gmatch(state.inboxes, '%S+') do
  if inbox ~= ARGV[1] or here > 0 then
    others[#others + 1] = inbox
    -- Those of a process that was killed never said that they leave.
    alive = alive or redis.call('PUBSUB', 'NUMSUB', inbox)[2] > 0
  end
end
redis.call('HSET', KEYS[1], 'inboxes', table.concat(others, ' '))
return (left > 0 and alive or state.named == '1' or state.background == '1') and 1 or 0
