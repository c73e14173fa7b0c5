-- Nobody wants a request: one that waits is over at once, and so is one whose worker was lost, which nobody may come for any
-- more; whoever runs it is told, also if he is just taking it.
--
-- KEYS  state, cancel
-- ARGV  [1] id, [2] channel of cancels, [3] how long that is remembered, ms,
--       [4] payload of the last event of one that waits, [5] how long an ended request is kept, ms
--
-- Returns 1 when it is over.

local state = read(KEYS[1])
local lost = state and tonumber(state.attempt) > 0 and redis.call('EXISTS', key_of(state.id, 'lease')) == 0
if state and not state.done and (leave(state) or lost) then
  conclude(state, ARGV[4], 'cancelled', ARGV[5])
  return 1
end
if not (state and state.done) then redis.call('SET', KEYS[2], '1', 'PX', ARGV[3]) end
redis.call('PUBLISH', ARGV[2], ARGV[1])
return 0
