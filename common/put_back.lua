-- Requests whose workers were lost wait again, each at its old place.
--
-- KEYS  the set of ids to be looked at: what runs of a pin, or a single state
-- ARGV  [1] "1" when KEYS[1] is such a set
--
-- Returns the lanes in which there is one more now: each needs a ticket.

local function lapsed(state)
  return state and not state.done and redis.call('EXISTS', key_of(state.id, 'lease')) == 0
    and not redis.call('ZSCORE', ROOM .. state.lane, state.id)
end

local lanes = {}
local function look(state)
  if lapsed(state) then
    redis.call('SREM', RUNNING .. state.pin, state.id)
    enter(state)
    lanes[#lanes + 1] = state.lane
  end
end

if ARGV[1] ~= '1' then
  look(read(KEYS[1]))
  return lanes
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local state = read(key_of(id, 'state'))
  if state then look(state) else redis.call('SREM', KEYS[1], id) end
end
return lanes
