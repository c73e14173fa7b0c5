-- A request that waits goes to another lane, as one that has just come there.
--
-- KEYS  state
-- ARGV  [1] the other lane
--
-- Returns 1, or 0 when it does not wait any more.

local state = read(KEYS[1])
if not state or state.done or not leave(state) then return 0 end
state.lane = ARGV[1]
state.tag = present(state.lane, state.class)
redis.call('HSET', state.at, 'lane', state.lane, 'tag', state.tag)
enter(state)
return 1
