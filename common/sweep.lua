-- Cleans up a lane from which nobody pulls: what has ended or expired does not wait there any more, and tickets that are
-- nobody's turn are torn up.
--
-- KEYS  lane (Celery's list of tickets)
-- ARGV  [1] lane, [2] how many are looked at, [3] payload of the last event of a request whose time is over,
--       [4] how long an ended request is kept, ms
--
-- Returns how many have left.

local room, now, gone = ROOM .. ARGV[1], milliseconds(), 0
for _, id in ipairs(redis.call('ZRANGE', room, 0, ARGV[2] - 1)) do
  local state = read(key_of(id, 'state'))
  if not state then
    redis.call('ZREM', room, id)
    gone = gone + 1
  elseif now >= tonumber(state.expires) then
    conclude(state, ARGV[3], 'expired', ARGV[4])
    gone = gone + 1
  end
end
if redis.call('EXISTS', room) == 0 then redis.call('DEL', KEYS[1]) end
return gone
