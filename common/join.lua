-- One more who listens to a request from now on, at the same API process as others or at another.
--
-- KEYS  state, cancel
-- ARGV  [1] the inbox channel, [2] the listener, by a name that no other has
--
-- Returns how long the request has left, ms, which is less than 0 where its time is over; nil when nothing is known of it any
-- more, or it is just being cancelled. Asking twice is harmless.

local state = read(KEYS[1])
-- What has ended can be heard, also where nobody wanted the rest.
if not state or (not state.done and redis.call('EXISTS', KEYS[2]) == 1) then return nil end
if redis.call('HSETNX', KEYS[1], 'listener:' .. ARGV[2], ARGV[1]) == 1 then
  local there = false
  for inbox in string.gmatch(state.inboxes, '%S+') do there = there or inbox == ARGV[1] end
  redis.call('HINCRBY', KEYS[1], 'at:' .. ARGV[1], 1)
  if not there then
    redis.call('HSET', KEYS[1], 'inboxes', state.inboxes == '' and ARGV[1] or state.inboxes .. ' ' .. ARGV[1])
  end
  redis.call('HINCRBY', KEYS[1], 'listeners', 1)
end
return state.expires - milliseconds()
